//! What the first start of a platform makes: an account's access key, and the credentials file that holds it.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use hearth_domain::AccountId;
use hearth_store::Catalog;
use hearth_store::catalog::AccessKey;
use rand::Rng;
use rand::distr::{Alphanumeric, SampleString};

/// The account that every platform starts with.
const FIRST_ACCOUNT: &str = "000000000000";
/// Name of the file within the data directory.
const CREDENTIALS_FILE: &str = "credentials";

/// Makes sure that there is an access key and that `DIR/credentials` has it (mode 0600).
pub(crate) async fn ensure_credentials(catalog: &Arc<dyn Catalog>, data_dir: &Path) -> Result<()> {
    let account = AccountId::new(FIRST_ACCOUNT)?;
    let keys = catalog.access_keys().await?;
    let key = match keys.iter().find(|key| key.account == account && key.user.is_none() && !key.disabled) {
        Some(key) => AccessKey::clone(key),
        None => {
            let key = new_key(account);
            catalog.put_access_key(key.clone()).await?;
            key
        }
    };
    write_credentials(&data_dir.join(CREDENTIALS_FILE), &key)
}

fn new_key(account: AccountId) -> AccessKey {
    const ID_CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut random = rand::rng();
    let id =
        (0..16).map(|_| char::from(ID_CHARACTERS[random.random_range(0..ID_CHARACTERS.len())])).collect::<String>();
    let secret = Alphanumeric.sample_string(&mut random, 40);
    AccessKey::root(format!("AKIA{id}"), secret, account)
}

/// Written anew at every start, whole or not at all: a file that was lost or torn comes back.
fn write_credentials(path: &Path, key: &AccessKey) -> Result<()> {
    let partial = path.with_extension("new");
    let told = || path.display().to_string();
    // A file left by a crash may have another mode: the mode below counts only for one that is made.
    let _ = std::fs::remove_file(&partial);
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).with_context(told)?;
    write!(file, "[hearth]\naws_access_key_id = {}\naws_secret_access_key = {}\n", key.id, key.secret)?;
    file.sync_all()?;
    std::fs::rename(&partial, path).with_context(told)
}
