#!lua
-- Writes one event that no change of a job made, if somebody listens.
-- keys: config events
-- args: now:int name:str id:str data:str
--   id: of the job that it is about, or ''; data: JSON
-- returns: the number of the event; 0 if nobody listens
-- include: time tell
tell(name, id, data)
return write_events()
