"""Hooks of a function around its snapshot, by the names AWS gives them: ``from snapshot_restore_py import …``.

A function whose versions start from a snapshot registers here what has to be done before it is taken (last registered,
first run) and after each restore (first registered, first run); ``bootstrap.py`` runs them. This module is last on the
search path: a bundle that brings AWS's package of that name uses its own, and the bootstrap runs that one's hooks.
"""

__all__ = ["register_after_restore", "register_before_snapshot"]

_before_snapshot = []
_after_restore = []


def register_before_snapshot(func, *args, **kwargs):
    """Has ``func(*args, **kwargs)`` called before the snapshot is taken. Returns it, so this can decorate."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    """Has ``func(*args, **kwargs)`` called after each restore. Returns it, so this can decorate."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot():
    """For the runtime: the list of (function, arguments, keyword arguments), in the order of registration."""
    return _before_snapshot


def get_after_restore():
    """For the runtime: the list of (function, arguments, keyword arguments), in the order of registration."""
    return _after_restore
