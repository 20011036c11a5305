//! Which commands a function may send: those that read and change data. All others are refused, those that nobody has heard of
//! among them: a connection is used by one request after the other, so nothing may change what it is, and no call may wait in the
//! server for others. What a command may reach of the data is the business of the server's own access lists.

/// The commands of data, in alphabetical order.
const ALLOWED: &[&str] = &[
    "APPEND",
    "BITCOUNT",
    "BITFIELD",
    "BITFIELD_RO",
    "BITOP",
    "BITPOS",
    "COPY",
    "DBSIZE",
    "DECR",
    "DECRBY",
    "DEL",
    "ECHO",
    "EVAL",
    "EVALSHA",
    "EVALSHA_RO",
    "EVAL_RO",
    "EXISTS",
    "EXPIRE",
    "EXPIREAT",
    "EXPIRETIME",
    "FCALL",
    "FCALL_RO",
    "FLUSHDB",
    "GEOADD",
    "GEODIST",
    "GEOHASH",
    "GEOPOS",
    "GEORADIUS",
    "GEORADIUSBYMEMBER",
    "GEORADIUSBYMEMBER_RO",
    "GEORADIUS_RO",
    "GEOSEARCH",
    "GEOSEARCHSTORE",
    "GET",
    "GETBIT",
    "GETDEL",
    "GETEX",
    "GETRANGE",
    "GETSET",
    "HDEL",
    "HEXISTS",
    "HEXPIRE",
    "HEXPIREAT",
    "HEXPIRETIME",
    "HGET",
    "HGETALL",
    "HGETDEL",
    "HGETEX",
    "HINCRBY",
    "HINCRBYFLOAT",
    "HKEYS",
    "HLEN",
    "HMGET",
    "HMSET",
    "HPERSIST",
    "HPEXPIRE",
    "HPEXPIREAT",
    "HPEXPIRETIME",
    "HPTTL",
    "HRANDFIELD",
    "HSCAN",
    "HSET",
    "HSETEX",
    "HSETNX",
    "HSTRLEN",
    "HTTL",
    "HVALS",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "KEYS",
    "LCS",
    "LINDEX",
    "LINSERT",
    "LLEN",
    "LMOVE",
    "LMPOP",
    "LPOP",
    "LPOS",
    "LPUSH",
    "LPUSHX",
    "LRANGE",
    "LREM",
    "LSET",
    "LTRIM",
    "MGET",
    "MSET",
    "MSETNX",
    "PERSIST",
    "PEXPIRE",
    "PEXPIREAT",
    "PEXPIRETIME",
    "PFADD",
    "PFCOUNT",
    "PFMERGE",
    "PING",
    "PSETEX",
    "PTTL",
    "PUBLISH",
    "RANDOMKEY",
    "RENAME",
    "RENAMENX",
    "RPOP",
    "RPOPLPUSH",
    "RPUSH",
    "RPUSHX",
    "SADD",
    "SCAN",
    "SCARD",
    "SDIFF",
    "SDIFFSTORE",
    "SET",
    "SETBIT",
    "SETEX",
    "SETNX",
    "SETRANGE",
    "SINTER",
    "SINTERCARD",
    "SINTERSTORE",
    "SISMEMBER",
    "SMEMBERS",
    "SMISMEMBER",
    "SMOVE",
    "SORT",
    "SORT_RO",
    "SPOP",
    "SPUBLISH",
    "SRANDMEMBER",
    "SREM",
    "SSCAN",
    "STRLEN",
    "SUBSTR",
    "SUNION",
    "SUNIONSTORE",
    "TIME",
    "TOUCH",
    "TTL",
    "TYPE",
    "UNLINK",
    "XACK",
    "XADD",
    "XAUTOCLAIM",
    "XCLAIM",
    "XDEL",
    "XLEN",
    "XPENDING",
    "XRANGE",
    "XREAD",
    "XREADGROUP",
    "XREVRANGE",
    "XTRIM",
    "ZADD",
    "ZCARD",
    "ZCOUNT",
    "ZDIFF",
    "ZDIFFSTORE",
    "ZINCRBY",
    "ZINTER",
    "ZINTERCARD",
    "ZINTERSTORE",
    "ZLEXCOUNT",
    "ZMPOP",
    "ZMSCORE",
    "ZPOPMAX",
    "ZPOPMIN",
    "ZRANDMEMBER",
    "ZRANGE",
    "ZRANGEBYLEX",
    "ZRANGEBYSCORE",
    "ZRANGESTORE",
    "ZRANK",
    "ZREM",
    "ZREMRANGEBYLEX",
    "ZREMRANGEBYRANK",
    "ZREMRANGEBYSCORE",
    "ZREVRANGE",
    "ZREVRANGEBYLEX",
    "ZREVRANGEBYSCORE",
    "ZREVRANK",
    "ZSCAN",
    "ZSCORE",
    "ZUNION",
    "ZUNIONSTORE",
];

/// Commands of which some subcommands are of data.
const ALLOWED_OF: &[(&str, &[&str])] = &[
    ("MEMORY", &["USAGE"]),
    ("OBJECT", &["ENCODING", "FREQ", "IDLETIME", "REFCOUNT"]),
    (
        "PUBSUB",
        &[
            "CHANNELS",
            "NUMPAT",
            "NUMSUB",
            "SHARDCHANNELS",
            "SHARDNUMSUB",
        ],
    ),
    ("SCRIPT", &["EXISTS", "LOAD"]),
    (
        "XGROUP",
        &[
            "CREATE",
            "CREATECONSUMER",
            "DELCONSUMER",
            "DESTROY",
            "SETID",
        ],
    ),
    ("XINFO", &["CONSUMERS", "GROUPS", "STREAM"]),
];

/// Commands of modules, by what their names begin with: none waits or changes its connection. What configures or debugs a module, or
/// is its own, is not among them.
const ALLOWED_MODULES: &[&str] = &[
    "BF.", "CF.", "CMS.", "FT.", "JSON.", "TDIGEST.", "TOPK.", "TS.",
];

const CONNECTION: &str = "it changes the connection, which other requests use after this one";
const WAITS: &str = "it waits in the server for what others do";
const ATOMIC: &str = "the host sends it for an `atomic`, around its commands";
const DATABASES: &str = "it reaches other databases than the function was given";
const UNKNOWN: &str = "it is not among the commands of data";

/// Why commands that people know are not among the allowed ones.
const REASONS: &[(&str, &[&str])] = &[
    (
        CONNECTION,
        &[
            "ASKING",
            "AUTH",
            "CLIENT",
            "HELLO",
            "MONITOR",
            "PSUBSCRIBE",
            "PSYNC",
            "PUNSUBSCRIBE",
            "QUIT",
            "READONLY",
            "READWRITE",
            "RESET",
            "SELECT",
            "SSUBSCRIBE",
            "SUBSCRIBE",
            "SUNSUBSCRIBE",
            "SYNC",
            "UNSUBSCRIBE",
        ],
    ),
    (
        WAITS,
        &[
            "BLMOVE",
            "BLMPOP",
            "BLPOP",
            "BRPOP",
            "BRPOPLPUSH",
            "BZMPOP",
            "BZPOPMAX",
            "BZPOPMIN",
            "WAIT",
            "WAITAOF",
        ],
    ),
    (ATOMIC, &["DISCARD", "EXEC", "MULTI", "UNWATCH", "WATCH"]),
    (DATABASES, &["FLUSHALL", "MOVE", "SWAPDB"]),
    (
        "it administers the server",
        &[
            "ACL",
            "BGREWRITEAOF",
            "BGSAVE",
            "CLUSTER",
            "COMMAND",
            "CONFIG",
            "DEBUG",
            "DUMP",
            "FAILOVER",
            "FUNCTION",
            "INFO",
            "LASTSAVE",
            "LATENCY",
            "LOLWUT",
            "MEMORY",
            "MIGRATE",
            "MODULE",
            "OBJECT",
            "PFDEBUG",
            "PFSELFTEST",
            "PUBSUB",
            "REPLCONF",
            "REPLICAOF",
            "RESTORE",
            "RESTORE-ASKING",
            "ROLE",
            "SAVE",
            "SCRIPT",
            "SHUTDOWN",
            "SLAVEOF",
            "SLOWLOG",
            "XGROUP",
            "XINFO",
        ],
    ),
];

/// Why a function may not send a command; `None` if it may. A command is its arguments, the name first.
pub fn refusal<'a>(mut arguments: impl Iterator<Item = &'a [u8]> + Clone) -> Option<&'static str> {
    let is = |argument: Option<&[u8]>, name: &str| {
        argument.is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes()))
    };
    let name = arguments.next().unwrap_or_default();
    if let Some((_, subcommands)) = ALLOWED_OF.iter().find(|(it, _)| is(Some(name), it)) {
        let next = arguments.next();
        return match subcommands.iter().any(|it| is(next, it)) {
            true => None,
            false => Some("only its subcommands that are of data may be sent"),
        };
    }
    if is(Some(name), "XREAD") || is(Some(name), "XREADGROUP") {
        return waits(arguments).then_some(WAITS);
    }
    if is(Some(name), "COPY") {
        // The keys may have any name. What is not known here may be known to a server, which reads options up to a zero byte.
        let is_plain = arguments.skip(2).all(|it| is(Some(it), "REPLACE"));
        return (!is_plain).then_some(DATABASES);
    }
    let is_of_module = |module: &&str| {
        let parts = name.split_at_checked(module.len());
        parts.is_some_and(|(begin, rest)| {
            is(Some(begin), module)
                && !rest.starts_with(b"_")
                && rest
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
                && !["CONFIG", "DEBUG"].iter().any(|it| is(Some(rest), it))
        })
    };
    if ALLOWED.iter().any(|it| is(Some(name), it)) || ALLOWED_MODULES.iter().any(is_of_module) {
        return None;
    }
    let known = REASONS.iter();
    let mut known = known.filter(|(_, names)| names.iter().any(|it| is(Some(name), it)));
    Some(known.next().map_or(UNKNOWN, |(reason, _)| reason))
}

/// Whether a reading of streams waits, by its options, which are taken as a server takes them: in any order, the groups' names not
/// taken for options, up to the streams.
fn waits<'a>(mut options: impl Iterator<Item = &'a [u8]>) -> bool {
    while let Some(option) = options.next() {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"BLOCK") {
            return true;
        } else if is(b"COUNT") {
            options.next();
        } else if is(b"GROUP") {
            options.nth(1);
        } else if !is(b"NOACK") {
            // The streams. Anything else may be an option to a server, which reads it up to a zero byte, and BLOCK may follow.
            return !is(b"STREAMS");
        }
    }
    false
}

/// The name of a command as messages have it: short, and printable whatever it is.
pub fn name<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> impl core::fmt::Display {
    struct Name<'a>(&'a [u8]);
    impl core::fmt::Display for Name<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            const CHARS_MAX: usize = 32;
            let shown = &self.0[..self.0.len().min(CHARS_MAX)];
            write!(f, "{}", shown.escape_ascii())
        }
    }
    Name(arguments.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{string::ToString, vec::Vec};

    use super::*;

    fn refused(command: &str) -> Option<&'static str> {
        refusal(command.split(' ').map(str::as_bytes))
    }

    #[test]
    fn the_lists_are_in_order_and_name_no_command_twice() {
        assert!(ALLOWED.is_sorted());
        let known = REASONS.iter().flat_map(|(_, names)| *names);
        let both: Vec<_> = known.filter(|it| ALLOWED.contains(it)).collect();
        assert!(both.is_empty(), "{both:?}");
    }

    #[test]
    fn data_may_be_read_and_changed() {
        for command in [
            "GET k",
            "get k",
            "SeT k v EX 60",
            "COPY a b REPLACE",
            "COPY db DB",
            "XREAD COUNT 2 STREAMS BLOCK 0",
            "XREADGROUP GROUP BLOCK BLOCK NOACK STREAMS k >",
            "XREAD COUNT BLOCK STREAMS k 0",
            "XGROUP CREATE k g $",
            "object encoding k",
            "JSON.SET k $ 1",
            "ft.search i *",
            "EVAL return 0",
        ] {
            assert_eq!(refused(command), None, "{command}");
        }
    }

    #[test]
    fn what_changes_the_connection_waits_or_administers_may_not_be_sent() {
        for (command, reason) in [
            ("AUTH a", CONNECTION),
            ("hello 3", CONNECTION),
            ("select 1", CONNECTION),
            ("CLIENT REPLY OFF", CONNECTION),
            ("SUBSCRIBE c", CONNECTION),
            ("MONITOR", CONNECTION),
            ("QUIT", CONNECTION),
            ("RESET", CONNECTION),
            ("BLPOP k 0", WAITS),
            ("WAIT 1 0", WAITS),
            ("XREAD BLOCK 0 STREAMS k $", WAITS),
            ("XREAD COUNT 1 block 0 STREAMS k $", WAITS),
            ("XREADGROUP GROUP STREAMS c BLOCK 0 STREAMS k >", WAITS),
            ("XREADGROUP NOACK BLOCK 0 GROUP g c STREAMS k >", WAITS),
            ("XREAD BLOCK\0 0 STREAMS k $", WAITS),
            ("XREADGROUP GROUP g c CLAIM 1 BLOCK 0 STREAMS k >", WAITS),
            ("MULTI", ATOMIC),
            ("exec", ATOMIC),
            ("WATCH k", ATOMIC),
            ("MOVE k 1", DATABASES),
            ("COPY a b DB 1", DATABASES),
            ("COPY a b REPLACE db 1", DATABASES),
            ("COPY a b DB\0 1", DATABASES),
            ("FLUSHALL", DATABASES),
            ("SET\r\nAUTH a", UNKNOWN),
            ("GETX", UNKNOWN),
            ("JSON", UNKNOWN),
            ("", UNKNOWN),
            ("FT._DROPIFX", UNKNOWN),
            ("ft.config SET", UNKNOWN),
            ("FT.CONFIG\0 SET", UNKNOWN),
            ("MYMODULE.BLOCK", UNKNOWN),
        ] {
            assert_eq!(refused(command), Some(reason), "{command}");
        }
        for command in [
            "SHUTDOWN",
            "CONFIG SET a b",
            "DEBUG SLEEP 9",
            "ACL LIST",
            "REPLICAOF a 1",
            "SLAVEOF a 1",
            "CLUSTER NODES",
            "FAILOVER",
            "MODULE LOAD a",
            "SCRIPT KILL",
            "SCRIPT FLUSH",
            "SCRIPT",
            "SAVE",
            "MIGRATE h 1 k 0 1",
            "MEMORY PURGE",
            "XINFO HELP",
            "FUNCTION LOAD a",
            "INFO",
        ] {
            assert!(refused(command).is_some(), "{command}");
        }
    }

    #[test]
    fn a_name_is_shown_short_and_printable() {
        let shown = |bytes: &[u8]| name([bytes].into_iter()).to_string();
        assert_eq!(shown(b"SET"), "SET");
        assert_eq!(shown(b"a\r\n\xff"), "a\\r\\n\\xff");
        assert_eq!(shown(&[b'x'; 100]).len(), 32);
    }
}
