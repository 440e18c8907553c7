"""The bounds of prices that are read in requests and answers (core/prices.py and who uses it)."""

price_terms_max = 16  # of one tool and direction; an invoice with more lines is another tool
price_models_max = 256  # of one tool; the largest catalogue of a provider has half of that
pointer_chars_max = 256  # of a JSON pointer
pointer_depth_max = 16  # its steps; usage stands three deep
rate_micro_max = 10**18  # for a million units: a million credits for each unit
amount_chars_max = 32  # of a number in a header or a document: 16 digits, a fraction, an exponent
amount_max = 2**53 - 1  # units; the largest integer that every JSON reader keeps exact
priced_body_bytes_max = 8 * 2**20  # of a request whose price is read in it; a book as a prompt
priced_bodies_bytes_max = 64 * 2**20  # of all such requests of one worker, while they are read
priced_answer_bytes_max = 8 * 2**20  # kept of an answer whose price is read at its end
event_bytes_max = 2**20  # of one server-sent event; the last one of a long answer repeats all of it
model_chars_max = 128  # of a model's name, as it stands in requests, configuration and the audit
tokens_max = 10**9  # of one call; a thousand times the widest context there is
lowered_tokens_min = 16  # fewer are no answer: the call is refused instead (OpenAI's own least)
price_lowerings_max = 3  # rounds of asking what is left, which others spend meanwhile
bytes_per_token = 3  # of a stream's text while its usage is not stated; English has 4.5, Chinese 3
drain_bytes_max = 4 * 2**20  # of an answer that nobody hears any more, until it states its usage
drain_answer_seconds_max = 60.0  # the same in time
