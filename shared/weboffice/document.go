package weboffice

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxKey is the longest OSS object key in bytes.
const MaxKey = 1023

// Document is one object in OSS.
type Document struct {
	Bucket string
	Key    string // without a leading slash; never empty
}

// String gives oss://bucket/key.
func (d Document) String() string { return "oss://" + d.Bucket + "/" + d.Key }

// Lengths are looked at beside patterns: bounded repeats take long to compile, and an instance
// compiles all of them when it starts.
var (
	// OSS's rule, with a length of 3 to 63
	bucketName   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*[a-z0-9]$`)
	percentOctet = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
)

// ParseSourceURI reads oss://bucket/key. It refuses every key that IMM might read otherwise than a
// policy's pattern does: empty, "." and ".." segments, control characters, backslash, "?", "#",
// percent octets, invalid UTF-8, more than MaxKey bytes. A key is compared byte for byte, so keys
// in other case or in another Unicode normal form are other documents. The error is a 400.
func ParseSourceURI(uri string) (Document, error) {
	if uri == "" {
		return Document{}, ErrSourceURIMissing.New()
	}
	bucket, key, found := strings.Cut(strings.TrimPrefix(uri, "oss://"), "/")
	if !strings.HasPrefix(uri, "oss://") || !found || len(bucket) < 3 || len(bucket) > 63 ||
		!bucketName.MatchString(bucket) {
		return Document{}, ErrSourceURI.New()
	}
	if key == "" || len(key) > MaxKey || !utf8.ValidString(key) ||
		strings.ContainsAny(key, `\?#`) ||
		strings.ContainsFunc(key, unicode.IsControl) || percentOctet.MatchString(key) {
		return Document{}, ErrKey.New()
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return Document{}, ErrKeySegment.New()
		}
	}
	return Document{Bucket: bucket, Key: key}, nil
}
