//! `inspect`: the znodes, as they are.

use clap::Args;
use deploy_core::wire::ZNODE_BYTES_MAX;
use deploy_zk::path;
use deploy_zk::zk::Zk;
use deploy_zk::znode::Znode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::Exit;
use crate::out::Format;
use crate::problem::Problem;
use crate::{text, tree};

mod follow;

const SCHEMA: &str = "deployctl/inspect/1";
/// Znodes printed; a tree may be larger than anybody reads.
const ZNODES_MAX: usize = 10_000;

/// Print the znodes, decoded, with versions and times
#[derive(Debug, Args)]
#[command(
    before_help = "  deployctl inspect web                 the tree of a service
  deployctl inspect web/enabled
  deployctl inspect web --watch         and every change from now on
  deployctl inspect /deploy/web/hosts\n\n"
)]
pub(crate) struct InspectArgs {
    /// Go on, with a line for each znode that comes, changes or goes
    #[arg(long)]
    watch: bool,
    /// A service, a path below one, or an absolute path [default: everything]
    #[arg(value_name = "ZNODE")]
    znode: Option<String>,
}

struct Row {
    path: String,
    znode: Znode,
}

/// Prints the tree at a path.
pub(crate) async fn run(args: &InspectArgs, context: &Context) -> Result<Exit, Problem> {
    if args.watch && context.out.format == Format::Json {
        return Err(Problem::usage("one object can't hold what is still to come").tip("-o jsonl"));
    }
    let top = absolute(context, args.znode.as_deref())?;
    let (rows, is_cut) = read(&context.zk, &top).await?;
    if rows.is_empty() {
        return Err(missing(context, &top).await?);
    }
    match context.out.format {
        Format::Text => {
            let lines = rows.iter().map(|row| line(row, &top)).collect::<Vec<_>>();
            context.out.data(&lines.join("\n"));
        }
        Format::Json => context.out.json(&json!({
            "schema": SCHEMA, "znodes": rows.iter().map(object).collect::<Vec<_>>(),
        })),
        Format::Jsonl => rows.iter().for_each(|row| {
            let mut object = object(row);
            object["schema"] = SCHEMA.into();
            context.out.json(&object);
        }),
    }
    if args.watch && !is_cut {
        return follow::run(context, &top, rows).await;
    }
    if is_cut {
        context
            .out
            .warn(&format!("only the first {ZNODES_MAX} znodes are shown"));
    }
    Ok(Exit::Done)
}

fn absolute(context: &Context, znode: Option<&str>) -> Result<String, Problem> {
    let root = context.root.path();
    let Some(znode) = znode else {
        return Ok(root.to_owned());
    };
    let asked = znode.trim_end_matches('/');
    let absolute = if asked.starts_with('/') {
        asked.to_owned()
    } else {
        path::join(root, asked)
    };
    let is_below = absolute == root || absolute.starts_with(&format!("{root}/"));
    if !is_below {
        return Err(
            Problem::usage(format!("`{}` is outside of {root}", text::clean(znode)))
                .tip("another root: --zk HOSTS/ROOT"),
        );
    }
    path::check(&absolute)
        .map_err(|why| Problem::usage(format!("`{}` is not a znode: {why}", text::clean(znode))))?;
    Ok(absolute)
}

/// Returns the problem of a path that does not exist: the nearest ancestor that does says more.
async fn missing(context: &Context, top: &str) -> Result<Problem, Problem> {
    let root = context.root.path();
    if context.zk.get(root).await?.is_none() {
        return Ok(context.no_root());
    }
    let mut ancestor = path::parent(top).unwrap_or(root);
    let children = loop {
        match context.zk.children(ancestor).await? {
            Some(children) => break children,
            None => ancestor = path::parent(ancestor).unwrap_or(root),
        }
    };
    let problem = Problem::not_found(format!("no znode {top}"));
    if children.is_empty() {
        return Ok(problem.fact(format!("{ancestor} has no children")));
    }
    let names = text::list(children.iter().map(String::as_str), 20);
    Ok(problem.fact(format!("{ancestor} has: {}", text::clean(&names))))
}

/// Reads a tree, in the order of paths.
async fn read(zk: &Zk, top: &str) -> Result<(Vec<Row>, bool), Problem> {
    let read = |path: String| async move {
        let (znode, children) = tokio::try_join!(zk.get(&path), zk.children(&path))?;
        Ok(znode.map(|znode| (znode, children.unwrap_or_default())))
    };
    let walk = tree::walk(top, ZNODES_MAX, read).await?;
    let row = |(path, znode)| Row { path, znode };
    Ok((walk.found.into_iter().map(row).collect(), walk.is_cut))
}

fn line(row: &Row, top: &str) -> String {
    let depth = row.path[top.len()..].matches('/').count();
    let name = match depth {
        0 => row.path.as_str(),
        _ => row.path.rsplit('/').next().unwrap_or_default(),
    };
    let stat = &row.znode.stat;
    let kind = if stat.ephemeral_owner == 0 {
        ""
    } else {
        " ephemeral"
    };
    let data = match shown(&row.znode.data) {
        data if data.is_empty() => data,
        data => format!("  {data}"),
    };
    let named = format!("{}{}", "  ".repeat(depth), text::clean(name));
    format!(
        "{named:<28} v{} {}{kind}{data}",
        stat.version,
        moment(stat.mtime_ms)
    )
}

/// Bytes that are shown of what is no stored format of ours: `-o json` has all of them.
const SHOWN_BYTES_MAX: usize = 1024;

/// Data that is JSON is shown on one line, anything else escaped, and its beginning only.
fn shown(data: &[u8]) -> String {
    if data.is_empty() {
        return String::new();
    }
    match serde_json::from_slice::<Value>(data) {
        Ok(value) if data.len() <= ZNODE_BYTES_MAX => text::clean(&value.to_string()),
        _ if data.len() > SHOWN_BYTES_MAX => {
            let beginning = data[..SHOWN_BYTES_MAX].escape_ascii();
            format!("\"{beginning}\" and more, {} bytes in all", data.len())
        }
        _ => format!("\"{}\"", data.escape_ascii()),
    }
}

fn object(row: &Row) -> Value {
    let stat = &row.znode.stat;
    let data = &row.znode.data;
    let mut object = json!({
        "path": row.path, "version": stat.version, "created": moment(stat.ctime_ms),
        "modified": moment(stat.mtime_ms), "ephemeral": stat.ephemeral_owner != 0,
        "children": stat.num_children,
    });
    match serde_json::from_slice::<Value>(data) {
        Ok(value) => object["data"] = value,
        Err(_) if data.is_empty() => object["data"] = Value::Null,
        Err(_) => object["text"] = data.escape_ascii().to_string().into(),
    }
    object
}

fn moment(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| "-".to_owned(), deploy_core::wire::time::render)
}
