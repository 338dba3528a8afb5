package retention

import (
	"strings"

	"berth/internal/oci"
)

// referrerTag returns what a tag refers to by its name: sha256-HEX, which clients
// use where a registry has no list of referrers, and sha256-HEX.WORD, as cosign
// (.sig, .att, .sbom) and others write. ok is false for all other tags.
func referrerTag(tag oci.Tag) (subject oci.Digest, ok bool) {
	algorithm, rest, found := strings.Cut(tag.String(), "-")
	if !found || algorithm != "sha256" && algorithm != "sha512" {
		return oci.Digest{}, false
	}
	hex, word, dot := strings.Cut(rest, ".")
	if dot && word == "" {
		return oci.Digest{}, false
	}
	d, err := oci.ParseDigest(algorithm + ":" + hex)
	if err != nil {
		return oci.Digest{}, false
	}
	return d, true
}

// meansReferrers reports whether a pattern stands for tags that refer to
// something, and for no others.
func meansReferrers(p oci.TagPattern) bool {
	return strings.HasPrefix(p.String(), "sha256-") || strings.HasPrefix(p.String(), "sha512-")
}
