"""The run folder: what an action did, readable by people and programs, also after a crash."""
