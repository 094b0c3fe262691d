#!/bin/sh
# Inside the emulated machine: the end-to-end tests that concern microVMs, with each kernel that is named.
# microvms.sh reads the lines that begin with `kernel`.
#
#   microvms-inside.sh whole|some KERNEL…
export E2E_BINARY=/lab/bin/hearth E2E_ISOLATION=kvm E2E_PATIENCE=6 E2E_COMPILED=/lab/compiled PYTHONDONTWRITEBYTECODE=1
kernel() { # NAME IMAGES TEST…
    echo "kernel $1 begins"
    export E2E_GUEST_IMAGES=$2
    name=$1 && shift 2
    (cd tests/e2e && python3 -m pytest -q --timeout 400 --durations 40 -p no:cacheprovider "$@") 2>&1
    status=$?
    echo "kernel $name ended with $status"
    [ $status = 0 ] || failed=1
}

part=$1 && shift
failed=0
/lab/bin/hearth doctor
for kernel in "$@"; do
    case $part,$kernel in
    whole,small) kernel small /lab/bin/guest-images test_microvm.py test_microvm_functions.py test_runtimes.py test_languages.py \
        -k "microvm or one and (compiled or error_document or failing_init and not OutOfMemory or test_echo and ruby or \
            test_context and ruby)" ;;
    whole,stock) kernel stock /lab/bin/guest-images-stock test_microvm.py test_runtimes.py \
        -k "of_its_own or of_a_snapshot or of_node or crash or one and compiled" ;;
    # One platform each: what starts it costs most.
    some,small) kernel small /lab/bin/guest-images test_microvm.py test_microvm_functions.py \
        -k "of_its_own or of_a_snapshot or clock or crash or monitor or demand_a or snap_start or layers or six or is_none" ;;
    some,stock) kernel stock /lab/bin/guest-images-stock test_microvm.py -k "of_its_own or of_a_snapshot" ;;
    esac
done
exit $failed
