"""The bounds of prices that are read in requests and answers (core/pricing)."""

price_terms_max = 16  # of one tool and direction; an invoice with more lines is another tool
price_models_max = 256  # of one tool; the largest catalogue of a provider has half of that
pointer_chars_max = 256  # of a JSON pointer
pointer_depth_max = 16  # its steps; usage stands three deep
rate_micro_max = 10**18  # for a million units: a million credits for each unit
amount_chars_max = 32  # of a number in a header or a document: 16 digits, a fraction, an exponent
amount_max = 2**53 - 1  # units; the largest integer that every JSON reader keeps exact
priced_body_bytes_max = 8 * 2**20  # of a request whose price is read in it; a book as a prompt
priced_body_seconds_max = 60.0  # from its head to its end; its client may be slow, not idle
priced_bodies_bytes_max = 64 * 2**20  # of all such requests of one worker, until they are answered
priced_bodies_share = 2  # a crew has at most half of that: others are never kept out
json_outermost_max = 10_000  # members of an object that is looked into: 5 ms to read
priced_answers_bytes_max = 64 * 2**20  # kept of all such answers of one worker
priced_answer_bytes_max = 8 * 2**20  # kept of an answer whose price is read at its end
event_bytes_max = 2**20  # of one server-sent event; the last one of a long answer repeats all of it
json_opened_max = 50_000  # of all objects of one body that are looked into: 0.2 s
usual_value_bytes_max = 64  # of a member's value that is compared with a list; the longest has 15
model_chars_max = 128  # of a model's name, as it stands in requests, configuration and the audit
tokens_max = 10**9  # of one call; a thousand times the widest context there is
framing_tokens = 32  # that a server adds to what a request says: roles, ends of messages
tools_tokens = 512  # the same where tools are offered, whose use it explains (Anthropic: about 350)
# The same where a request asks for a prompt of the server's own: Mistral's `safe_prompt` has 45,
# and nobody says how many its `prompt_mode` has.
own_prompt_tokens = 1024
lowered_tokens_min = 16  # fewer are no answer: the call is refused instead (OpenAI's own least)
price_lowerings_max = 3  # rounds of asking what is left, which others spend meanwhile
stream_wait_seconds_max = 5.0  # for credit of an answer that has begun; its server waits with it
stream_again_seconds_min = 0.02  # from one question for it to the next: a few scheduler slices,
stream_again_seconds_max = 0.25  # doubled up to what an agent waits with its answer
event_text_bytes_max = 65_536  # of an event whose text is looked at; a larger one counts in full
bytes_per_token = 3  # of a stream's text while its usage is not stated; English has 4.5, Chinese 3
drain_bytes_max = 4 * 2**20  # of an answer that nobody hears any more, until it states its usage
drain_answer_seconds_max = 60.0  # the same in time
overrun_draws_max = 3  # for one overrun: what is known to be left, what the ledger says, the rest
