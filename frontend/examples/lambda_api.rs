//! Prints docs/lambda-api.md: `cargo xtask gen` runs this.

fn main() {
    print!("{}", hearth_frontend::model::lambda_api());
}
