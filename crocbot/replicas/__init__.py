"""
Replicas: gateways of one bot that share a database.

    name.py       the name of a replica, which owns its leases
    times.py      how long a lease is valid, and when it is renewed
    leader.py     which replica polls, and for how long
    heartbeat.py  the statement that renews the lease of the leader, or takes it
    floods.py     flood waits of Telegram, shared
    wake.py       notifications of the database
"""
