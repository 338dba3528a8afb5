package oci

import "errors"

// A Code is an error code of the distribution spec, or one of those that
// registry:2 added and clients know. Berth has none of its own.
type Code string

// The codes of the distribution spec ("Error Codes"), then those of registry:2.
const (
	BlobUnknown         Code = "BLOB_UNKNOWN"
	BlobUploadInvalid   Code = "BLOB_UPLOAD_INVALID"
	BlobUploadUnknown   Code = "BLOB_UPLOAD_UNKNOWN"
	DigestInvalid       Code = "DIGEST_INVALID"
	ManifestBlobUnknown Code = "MANIFEST_BLOB_UNKNOWN"
	ManifestInvalid     Code = "MANIFEST_INVALID"
	ManifestUnknown     Code = "MANIFEST_UNKNOWN"
	NameInvalid         Code = "NAME_INVALID"
	NameUnknown         Code = "NAME_UNKNOWN"
	SizeInvalid         Code = "SIZE_INVALID"
	Unauthorized        Code = "UNAUTHORIZED"
	Denied              Code = "DENIED"
	Unsupported         Code = "UNSUPPORTED"
	TooManyRequests     Code = "TOOMANYREQUESTS"

	Unknown                 Code = "UNKNOWN"
	Unavailable             Code = "UNAVAILABLE"
	RangeInvalid            Code = "RANGE_INVALID"
	TagInvalid              Code = "TAG_INVALID"
	PaginationNumberInvalid Code = "PAGINATION_NUMBER_INVALID"
)

// An Error is an error that a client is meant to see. All other errors are
// reported to clients as UNKNOWN, without their text.
type Error struct {
	Code    Code
	Message string // for people: what is wrong and what to do about it
	Detail  any    // JSON-encodable; optional
}

func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Message
}

// Is reports whether target is an *Error with the same code, so that
// errors.Is(err, &Error{Code: BlobUnknown}) holds however err was worded.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf returns the code of the *Error in err's chain, and the empty Code when
// there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}
