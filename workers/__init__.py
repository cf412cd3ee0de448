"""Everything that happens, from a request to its mail.

request (requests/)              what can be asked, one class each
  → message on queue `requests`  portal_client/ sends it, actors/requests.py records it
  → job row (engine/ledger.py)   the promise; a wake-up (engine/broker.py) says something is due
  → actor (actors/)              claims a batch, opens one transaction, calls one capability
  → capability (enrollment/ …)   set-based SQL inside that transaction; decides with pure rules of models/
  → owed row                     a mail to send, committed with its cause
  → mail (mail/)                 rendered, sent, its outcome recorded
clock.py wakes queues that have due work, rescues what was left, fires schedules.
"""
