//! Reasons: the stable codes that say why a request was not forwarded.

use crate::policy::agreement::named_enum;

named_enum! {
    /// Why a request was denied, refused or could not be answered. The names are public surface.
    Reason {
        /// No bearer token, or a caller that proves nothing.
        TokenMissing = "token_missing",
        /// A token that is malformed, forged, for another audience or not yet valid.
        TokenInvalid = "token_invalid",
        /// A token past its `exp`.
        TokenExpired = "token_expired",
        /// The keys to check the token with are not at hand.
        KeysUnavailable = "keys_unavailable",
        /// The caller's tenant is not in the partners table.
        PartnerUnlisted = "partner_unlisted",
        /// The caller holds none of the roles that the operation asks.
        RoleMissing = "role_missing",
        /// A required agreement has not been accepted.
        AgreementMissing = "agreement_missing",
        /// A required agreement was accepted too long ago to count.
        AgreementTooOld = "agreement_too_old",
        /// The status of a required agreement could not be learnt for now.
        AgreementUnknown = "agreement_unknown",
        /// No source names the party: the gateway's operator has to record it.
        AgreementUnrecorded = "agreement_unrecorded",
        /// A write that no operation lists.
        UnlistedOperation = "unlisted_operation",
        /// A path with more than one reading.
        AmbiguousPath = "ambiguous_path",
        /// Headers or framing with more than one reading.
        AmbiguousRequest = "ambiguous_request",
        /// A method that is not forwarded (CONNECT, TRACE, unknown ones, upgrades).
        MethodRefused = "method_refused",
        /// A header that asks for another method than the request line.
        MethodOverride = "method_override",
        /// The customer can not be read, or is no tenant id.
        InvalidCustomer = "invalid_customer",
        /// The body names another customer than the path.
        CustomerMismatch = "customer_mismatch",
        /// The body names another resource than the path.
        IdMismatch = "id_mismatch",
        /// The body is not one unambiguous JSON object.
        InvalidBody = "invalid_body",
        /// The lines or their products can not be read.
        UnreadableLines = "unreadable_lines",
        /// A reseller is named by something that is no MPN id and no tenant id.
        InvalidReseller = "invalid_reseller",
        /// More lines, or more parties, than one request may have.
        TooManyLines = "too_many_lines",
        /// The caller wants another version of a resource changed than the one that is there.
        PreconditionFailed = "precondition_failed",
        /// The body of a judged request is larger than allowed.
        BodyTooLarge = "body_too_large",
        /// The header block is larger than allowed.
        HeadersTooLarge = "headers_too_large",
        /// The head of the request did not arrive in time.
        HeaderTimeout = "header_timeout",
        /// The body did not arrive in time.
        BodyTimeout = "body_timeout",
        /// The body ended early.
        BodyIncomplete = "body_incomplete",
        /// The body of a judged request is not plain JSON.
        UnsupportedMediaType = "unsupported_media_type",
        /// One of the gateway's own paths that does not exist.
        NotFound = "not_found",
        /// Too much is buffered already.
        Overloaded = "overloaded",
        /// The decision could not be recorded.
        AuditUnavailable = "audit_unavailable",
        /// No connection to the upstream could be opened: it has not seen the request.
        UpstreamUnreachable = "upstream_unreachable",
        /// The upstream broke the connection instead of answering: it may have acted.
        UpstreamInterrupted = "upstream_interrupted",
        /// The upstream answered with something that is no usable answer.
        UpstreamInvalid = "upstream_invalid",
        /// The upstream did not answer in time.
        UpstreamTimeout = "upstream_timeout",
        /// A fault of the gateway itself.
        Internal = "internal",
    }
}

named_enum! {
    /// The HTTP status of `agreement_unrecorded` (`agreements.unrecorded_status`).
    UnrecordedStatus {
        /// For programs that repeat a 503 on their own: repeating brings nothing until somebody records the agreement.
        Conflict = "409",
        /// As every other answer for not knowing.
        Unavailable = "503",
    }
}

impl Reason {
    /// The HTTP status of the answer.
    pub const fn status(self, unrecorded: UnrecordedStatus) -> u16 {
        match self {
            Reason::TokenMissing | Reason::TokenInvalid | Reason::TokenExpired => 401,
            Reason::PartnerUnlisted
            | Reason::RoleMissing
            | Reason::AgreementMissing
            | Reason::AgreementTooOld
            | Reason::UnlistedOperation => 403,
            Reason::AmbiguousPath
            | Reason::AmbiguousRequest
            | Reason::MethodOverride
            | Reason::InvalidCustomer
            | Reason::CustomerMismatch
            | Reason::IdMismatch
            | Reason::InvalidBody
            | Reason::UnreadableLines
            | Reason::InvalidReseller
            | Reason::TooManyLines
            | Reason::BodyIncomplete => 400,
            Reason::NotFound => 404,
            Reason::MethodRefused => 405,
            Reason::HeaderTimeout | Reason::BodyTimeout => 408,
            Reason::PreconditionFailed => 412,
            Reason::BodyTooLarge => 413,
            Reason::UnsupportedMediaType => 415,
            Reason::HeadersTooLarge => 431,
            Reason::Internal => 500,
            Reason::UpstreamUnreachable | Reason::UpstreamInterrupted | Reason::UpstreamInvalid => 502,
            Reason::KeysUnavailable
            | Reason::AgreementUnknown
            | Reason::Overloaded
            | Reason::AuditUnavailable => 503,
            Reason::AgreementUnrecorded => match unrecorded {
                UnrecordedStatus::Conflict => 409,
                UnrecordedStatus::Unavailable => 503,
            },
            Reason::UpstreamTimeout => 504,
        }
    }

    /// The fault code: Partner Center's own where it has one (Partner Center, "REST error codes"), else zero. Codes of seven
    /// digits are Countersign's: those of Partner Center have at most six, so that not knowing is never taken for missing.
    pub const fn fault_code(self) -> u32 {
        match self {
            Reason::TokenMissing => 800_001,
            Reason::TokenInvalid | Reason::TokenExpired => 400,
            Reason::RoleMissing => 900_150,
            Reason::PreconditionFailed => 800_036,
            Reason::AgreementUnknown => 1_000_001,
            Reason::AgreementUnrecorded => 1_000_002,
            _ => 0,
        }
    }

    /// Seconds after which asking again may help; `None` where somebody has to act first.
    pub const fn retry_after(self) -> Option<u32> {
        match self {
            Reason::KeysUnavailable | Reason::AgreementUnknown => Some(30),
            Reason::Overloaded | Reason::AuditUnavailable => Some(5),
            _ => None,
        }
    }

    /// True where something is definitely not met, so that the fault code is that of the rule.
    pub const fn is_unmet(self) -> bool {
        matches!(self, Reason::AgreementMissing | Reason::AgreementTooOld | Reason::RoleMissing)
    }

    /// True where the agreements themselves are the reason.
    pub const fn is_about_agreements(self) -> bool {
        matches!(
            self,
            Reason::AgreementMissing
                | Reason::AgreementTooOld
                | Reason::AgreementUnknown
                | Reason::AgreementUnrecorded
        )
    }
}
