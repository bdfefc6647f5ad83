"""What is done to queues and jobs from outside a worker: find, explain, change, hold, remove.

`QueueView`, the client and the handles lead here; the engine does not need it.
"""
