"""The bounds of identity providers and their tokens (identity_provider/)."""

identity_providers_max = 16  # of one configuration; a company has one or two
subject_token_bytes_max = 16_384  # an ID token with a hundred groups; larger ones break headers
subject_token_age_seconds = 3600  # since `iat`: as long as most providers' ID tokens are valid
subject_token_age_seconds_max = 86_400  # a day; a session may be longer, but not its proof
subject_token_leeway_seconds = 30  # a provider's clock is not one of ours; OIDC Core has "minutes"
subject_chars_max = 255  # of `sub`, as OpenID Connect Core 1.0 has it, section 2
issuer_chars_max = 512  # a URL with a tenant and a policy in its path
rsa_bits_max = 8192  # a verification takes under a millisecond
rsa_bits_min = 2048  # RFC 7518, section 3.3
rsa_exponent_max = 2**32  # 65537 is usual; a long one makes each verification slow
provider_answer_bytes_max = 262_144  # a JWKS: 64 keys of 4096 bits, each with a chain
provider_keys_max = 64  # large providers have ten
jwks_url_chars_max = 1024  # a URL with a tenant and a policy
provider_seconds_max = 5.0  # for an answer in all; an orchestrator, or a person, waits for it
jwks_refresh_seconds = 600.0  # between two downloads: a removed key is refused after ten minutes
jwks_pause_seconds = 10.0  # between two attempts, also for tokens with an unknown key
jwks_age_seconds_max = 21_600.0  # six hours: a provider's outage, and no key for ever
identity_provider_look_seconds = 5.0  # between two looks of the control process: a stat each
