"""The bounds of prices in requests and answers (core/pricing)."""

price_terms_max = 16  # of one tool and direction; a longer invoice belongs to several tools
price_models_max = 256  # of one tool; the largest catalog of a provider has half as many
pointer_chars_max = 256  # of a JSON pointer
pointer_depth_max = 16  # steps of a JSON pointer; usage stands three deep
rate_micro_max = 10**18  # for a million units: a million credits for each unit
amount_chars_max = 32  # a number in a header or document: 16 digits, fraction and exponent
amount_max = 2**53 - 1  # units; the largest integer that every JSON reader keeps exact
priced_body_bytes_max = 8 * 2**20  # a request whose price is in its body; a book as a prompt
priced_body_seconds_max = 60.0  # from its head to its end, for a slow client that is not idle
priced_bodies_bytes_max = 64 * 2**20  # all such requests of one worker, until they have answers
priced_bodies_share = 2  # the divisor: a crew gets at most half, so others always get some
json_outermost_max = 10_000  # members of one object that is read: 5 ms
priced_answers_bytes_max = 64 * 2**20  # kept of all such answers of one worker
priced_answer_bytes_max = 8 * 2**20  # kept of an answer whose price is at its end
event_lines_max = 65_536  # of one event; indented JSON of 3 MiB, a millisecond to split
event_bytes_max = 2**20  # one server-sent event; the last one of a long answer repeats all of it
json_opened_max = 50_000  # members of all objects of one body that are read: 0.2 s
usual_value_bytes_max = 64  # a member's value that is compared with a list; the longest has 15
model_chars_max = 128  # a model's name in requests, configuration and audit
tokens_max = 10**9  # of one call; a thousand times the widest context that exists
framing_tokens = 32  # added by a server to a request: roles, ends of messages
tools_tokens = 512  # added for offered tools, to explain their use (Anthropic: about 350)
# Added if a request asks for a prompt of the server: Mistral's `safe_prompt` has 45, and Mistral
# does not say how many its `prompt_mode` has.
own_prompt_tokens = 1024
lowered_tokens_min = 16  # with fewer, the call is refused instead (OpenAI's own minimum)
price_lowerings_max = 3  # attempts to fit what is left, which other calls spend meanwhile
stream_wait_seconds_max = 5.0  # for credit of an answer that has begun; its server waits too
stream_again_seconds_min = 0.02  # first pause between draws for an answer: a few scheduler slices
stream_again_seconds_max = 0.25  # longest pause, after doubling; an agent holds its answer as long
event_text_bytes_max = 65_536  # of an event whose text is read; a larger one counts in full
bytes_per_token = 3  # of a stream without stated usage; English has 4.5, Chinese 3
unfinished_calls_max = 16  # in a row that are free; a form asks a few times
unfinished_tools_max = 4096  # branches and tools of one worker whose unfinished calls it counts
drain_bytes_max = 4 * 2**20  # read from an answer without a client, until it states its usage
drain_answer_seconds_max = 60.0  # as `drain_bytes_max`, in time
overrun_draws_max = 3  # for one overrun: what is known to be left, what the ledger says, the rest
