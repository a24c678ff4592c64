"""
Replicas: gateways of one bot that share a PostgreSQL database.

    accept --> HeldChats: the leases of this process --> Dispatcher
                  ^                                         |
                  '-- ChatLeases: claim, load, renew, release

    name.py       the name of a replica, which owns its leases
    times.py      how long a lease is valid, and when it is renewed
    leader.py     which replica polls, and for how long
    heartbeat.py  the statement that renews the lease of the leader, or takes it
    floods.py     flood waits of Telegram, shared
    moves.py      groups that became supergroups, known to all replicas
    wake.py       notifications of the database
    held.py       the chats whose leases this process has, in memory
    inbox.py      the inbox under these leases
    server_time.py  the time of the database server, whatever becomes of its clock
    chats.py      the task that claims chats, and gives them back
"""
