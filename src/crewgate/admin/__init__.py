"""The admin process: answers probes over plain HTTP, apart from all calls.

`listener` serves HTTP/1.1, and `probes` asks the agent. The process holds no key, decides nothing
and reads no call, so its end harms none.
"""
