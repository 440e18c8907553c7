"""The alerts process: notes what a person must know, and tells the receivers of [alert.NAME].

`observer` looks: at the audit (`audit_alerts`), the branches (`budget_watch`), the health of the
machine (`health_watch`), the other machines (`member_watch`) and the processes (`restart_watch`).
Each of these is pure, and returns `Findings`: alerts, and what to remember. `outbox` keeps both on
the disk in one transaction. So a restart neither repeats nor forgets. `sender` takes each alert to
each receiver in the words of its format (`webhook`, `slack`, `pagerduty`).

No call waits for the process, and it decides nothing.
"""
