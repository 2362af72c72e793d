//! The troubleshooting guide: what the checks say of themselves, as Markdown.

use super::checks;

const HEAD: &str = "\
<!-- Made by `hailo-clip doctor --guide` from the checks themselves; do not edit. -->
# Troubleshooting

    hailo-clip doctor               what is wrong, and the commands that mend it
    sudo hailo-clip doctor --fix    runs the harmless ones, after asking for each
    hailo-clip doctor --all         all checks, those that found nothing as well
    hailo-clip doctor --json        for programs
    hailo-clip doctor --from 203.0.113.7    would a client at this address be let in?
    hailo-clip report report.tar.gz         a bundle for an issue report

It works whether the service is up, down, failing at its start or not installed, and does not start it. Exit code:
0 nothing is wrong, 5 a warning, 6 a failure. As a plain user it says which checks need root; those count for nothing.

`--json` prints one object: `schema` (1), `version`, `root` (whether root asked), `verdict` (the worst: `ok`, `warning`,
`failure`), `checks` (in the order below, each with `id`, `title`, `verdict` (also `not_applicable`, `needs_root`), `summary`,
`evidence` (lines), and `remedy`, which is null or has `advice`, `commands` and `automatic`, whether `--fix` runs them), and
with `--fix` also `fixes` (`check`, `command`, `succeeded`). Keys may be added; ids stay.

Faults follow from one another in this order, so begin with the first.

| check | what one notices | what it looks at | what mends it |
|---|---|---|---|
";

const TAIL: &str = "
A report (`hailo-clip report FILE`) holds doctor's findings, the journal, the effective configuration without secrets,
status and versions; a README inside lists it. The names of users and of the machine, and addresses other than
loopback, are replaced. Read it before you publish it.
";

/// `docs/troubleshooting.md`
#[must_use]
pub fn guide() -> String {
    let rows = checks::ALL.iter().map(|check| {
        let cell = |text: &str| text.replace('|', "\\|");
        let (symptom, looks_at, remedy) = (cell(check.symptom), cell(check.looks_at), cell(check.remedy));
        format!("| **{}** `{}` | {symptom} | {looks_at} | {remedy} |\n", check.title, check.id)
    });
    format!("{HEAD}{}{TAIL}", rows.collect::<String>())
}
