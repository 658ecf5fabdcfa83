//! Migrations are embedded by a macro; a new file must make it look again.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
