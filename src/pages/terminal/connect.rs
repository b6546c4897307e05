//! How the user's own ssh client reaches a VM.

use crate::{
    components::resource::{Loading, section_view},
    model::SshGateway,
};
use leptos::prelude::*;

/// Ready commands; `assets/terminal.js` copies them.
#[component]
pub fn Connect(gateway: Loading<Option<SshGateway>>, ssh_user: String) -> impl IntoView {
    let ssh_user = StoredValue::new(ssh_user);
    view! {
        <section class="panel block" data-testid="connect">
            <h2>"Connect with your own ssh client"</h2>
            {section_view(gateway, || ().into_any(), move |gateway| async move {
                commands(gateway, &ssh_user.get_value())
            })}
        </section>
    }
}

fn commands(gateway: Option<SshGateway>, user: &str) -> AnyView {
    let Some(SshGateway { host, port, fingerprint, is_local, has_key }) = gateway else {
        return view! { <p class="hint">"This server has no ssh gateway. An admin turns it on with --ssh-addr."</p> }
            .into_any();
    };
    let name = user.replace('/', "-");
    // scp takes what is before a slash for a local path, and colons for the end of the host.
    let scp_user = if name == user { format!("{user}@") } else { String::new() };
    let scp_option = if name == user { String::new() } else { format!(" -o User={user}") };
    let scp_host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let commands = [
        ("Shell", format!("ssh -p {port} {user}@{host}")),
        ("Copy a file", format!("scp -P {port}{scp_option} FILE {scp_user}{scp_host}:")),
        (
            "In ~/.ssh/config, for ssh, scp, rsync and editors",
            format!("Host {name}\n    HostName {host}\n    Port {port}\n    User {user}"),
        ),
    ];
    let entry = |(label, text): (&'static str, String)| {
        view! {
            <li>
                <div class="what"><small class="muted">{label}</small><pre class="command">{text}</pre></div>
                <button type="button" class="btn copy" data-copy="" aria-label=format!("Copy: {label}")>"Copy"</button>
            </li>
        }
    };
    view! {
        {(!has_key).then(|| view! { <p class="banner"><span>"You have no ssh key here yet. " <a class="underlined" href="/account/keys">"Add one"</a> " first."</span></p> })}
        {is_local.then(|| view! { <p class="banner">"The gateway is reachable on the server itself only. An admin opens it to other computers with --ssh-addr."</p> })}
        <ul class="entries">{commands.map(entry)}</ul>
        <p class="hint">"The server's key is " <code class="fingerprint">{fingerprint}</code> ". " <a class="underlined" href="/account/keys">"Your ssh keys"</a></p>
    }
    .into_any()
}
