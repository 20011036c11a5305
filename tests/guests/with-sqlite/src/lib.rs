//! Uses SQLite in memory, and Lua: the event is a number, the answer what both make of it, the same in a VM and on the host.

use mlua::Lua;
use rusqlite::Connection;

/// Rows that are summed, sorted, printed and searched, and an error that is told.
fn by_sqlite(seed: i64) -> Result<String, rusqlite::Error> {
    let database = Connection::open_in_memory()?;
    database.execute_batch("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL) STRICT; CREATE INDEX name ON item (name);")?;
    for number in 0..200 {
        let name = format!("item {}", (number * 7919 + seed) % 1000);
        let price = (number * seed % 997) as f64 / 7.0;
        database.execute(
            "INSERT INTO item (name, price) VALUES (?1, ?2)",
            (name, price),
        )?;
    }
    let all = database.query_row(
        "SELECT count(*) || ' ' || printf('%.6f %08.3e', sum(price), avg(price)) || ' ' || max(name) || ' ' ||
         strftime('%Y-%m-%d %H:%M', 86400 * sum(id), 'unixepoch') FROM item WHERE name GLOB 'item [1-5]*'",
        [],
        |row| row.get::<_, String>(0),
    )?;
    let mut first = database.prepare("SELECT name FROM item ORDER BY price DESC, name LIMIT 3")?;
    let first: Vec<String> = first
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let wrong = database
        .execute("INSERT INTO item (id) VALUES (1)", [])
        .map_or_else(|error| error.to_string(), |_| "?".into());
    let json: String = database.query_row(
        "SELECT json_group_array(id) FROM item WHERE id < 5",
        [],
        |row| row.get(0),
    )?;
    Ok(format!("{all}\n{first:?}\n{wrong}\n{json}\n"))
}

/// Tables, texts, patterns, numbers, and an error that is caught, by a jump.
fn by_lua(seed: i64) -> Result<String, mlua::Error> {
    let lua = Lua::new();
    lua.globals().set("seed", seed)?;
    lua.load(
        r#"
        local words = {}
        for word in string.gmatch("the quick brown fox jumps over the lazy dog", "%a+") do
            words[#words + 1] = word
        end
        table.sort(words)
        local sum = 0
        for i = 1, 1000 do sum = sum + math.sin(i) * math.sqrt(seed) end
        local fine, why = pcall(function() error({ code = seed }) end)
        local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i * seed) end end)
        return string.format("%s\n%.9f %a %5.1f%% %q\n%s %d %d %d\n%s", table.concat(words, " "), sum, 0.1, seed / 3,
            "a\nb", tostring(fine), why.code, co(), co(), os.date("!%Y-%m-%d", seed * 86400))
        "#,
    )
    .eval()
}

/// What both make of the event.
#[jiffy::function]
pub fn handler(seed: i64) -> Result<Vec<u8>, jiffy::Error> {
    let rows = by_sqlite(seed)?;
    let script = by_lua(seed).map_err(jiffy::Error::msg)?;
    Ok((rows + &script).into_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_host_makes_what_is_expected() {
        let outcome = jiffy::testing::call!().event("17").run();
        assert_eq!(outcome.text(), include_str!("../expected.txt"));
    }
}
