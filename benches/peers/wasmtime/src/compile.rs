//! Translates a module ahead of time: `compile MODULE.wasm MODULE.cwasm`.

use std::{env, fs};

use wasmtime::{Engine, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let [_, module, translated] = arguments.as_slice() else {
        bail!("usage: compile MODULE.wasm MODULE.cwasm");
    };
    let translated_bytes = Engine::default().precompile_module(&fs::read(module)?)?;
    fs::write(translated, translated_bytes)?;
    Ok(())
}
