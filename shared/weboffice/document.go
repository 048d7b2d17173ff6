package weboffice

import (
	"fmt"
	"path"
	"regexp"
	"slices"
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

// IsBucket says whether OSS may have a bucket of this name.
func IsBucket(name string) bool {
	return len(name) >= 3 && len(name) <= 63 && strings.Trim(name, "-") == name &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

var percentOctet = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// ParseSourceURI reads oss://bucket/key. It refuses every key that IMM might read otherwise than a
// policy's pattern does, or that a person takes for another: empty, "." and ".." segments, white
// space at a segment's ends, control characters, bidirectional controls, U+200B, U+2060, U+FEFF,
// backslash, "?", "#", percent octets, invalid UTF-8, more than MaxKey bytes. U+200C and U+200D
// stay: Persian and emoji need them. A key is compared byte for byte, so keys in other case or in
// another Unicode normal form are other documents. The error is a 400 that names the character.
func ParseSourceURI(uri string) (Document, error) {
	if uri == "" {
		return Document{}, ErrMissing.New("SourceURI", "oss://bucket/object")
	}
	rest, isOSS := strings.CutPrefix(uri, "oss://")
	bucket, key, found := strings.Cut(rest, "/")
	if !isOSS || !found || !IsBucket(bucket) {
		return Document{}, ErrSourceURI.New()
	}
	if key == "" || len(key) > MaxKey || !utf8.ValidString(key) {
		return Document{}, ErrKey.New(MaxKey)
	}
	if octet := percentOctet.FindString(key); octet != "" {
		return Document{}, ErrKeyCharacter.New(octet)
	}
	if i := strings.IndexFunc(key, misleading); i >= 0 {
		return Document{}, ErrKeyCharacter.New(nameOf([]rune(key[i:])[0]))
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return Document{}, ErrKeySegment.New()
		}
		if inner := strings.TrimSpace(segment); inner != segment {
			around := strings.Replace(segment, inner, "", 1)
			return Document{}, ErrKeySpace.New(nameOf([]rune(around)[0]))
		}
	}
	return Document{Bucket: bucket, Key: key}, nil
}

// misleading says whether a character of a key may be read as something else, or not be seen.
func misleading(r rune) bool {
	return strings.ContainsRune("\\?#\u200B\u2060\uFEFF", r) || unicode.IsControl(r) ||
		unicode.Is(unicode.Bidi_Control, r)
}

// nameOf names a character so that it can be seen.
func nameOf(r rune) string {
	if r > ' ' && r < 0x7f {
		return string(r)
	}
	return fmt.Sprintf("%U", r)
}

// Format is what IMM can do with one kind of file.
type Format struct{ Editable, PDF bool }

// extensions is the vendor's table of formats: a new one is one word here. rtf, csv and pdf are
// preview-only by the quick start's table; txt stands in no list of what can be edited.
var extensions = []struct {
	names []string
	Format
}{
	{strings.Fields("doc docx dot wps wpt dotx docm dotm"), Format{Editable: true}},
	{strings.Fields("ppt pptx pptm ppsx ppsm pps potx potm dpt dps"), Format{Editable: true}},
	{strings.Fields("et xls xlt xlsx xlsm xltx xltm"), Format{Editable: true}},
	{strings.Fields("txt rtf csv"), Format{}},
	{strings.Fields("pdf"), Format{PDF: true}},
}

// Extensions lists the supported extensions, without dots.
func Extensions() (names []string) {
	for _, row := range extensions {
		names = append(names, row.names...)
	}
	return names
}

// FormatOf returns the format that a name's extension stands for, in any case; false for a name
// without a supported one.
func FormatOf(name string) (Format, bool) {
	extension := strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
	for _, row := range extensions {
		if slices.Contains(row.names, extension) {
			return row.Format, true
		}
	}
	return Format{}, false
}

// Permission is IMM's permission structure. At IMM an absent Readonly means that editing is
// allowed, so all six are always sent.
type Permission struct{ Readonly, Rename, History, Copy, Export, Print bool }

// grants is the one table of rights: the word of a policy or a share link, and its member of
// Permission. A new right is one line here.
var grants = []struct {
	word    string
	member  func(*Permission) *bool
	allowed bool // the member's value where the right is given
}{
	{"edit", func(p *Permission) *bool { return &p.Readonly }, false},
	{"rename", func(p *Permission) *bool { return &p.Rename }, true},
	{"history", func(p *Permission) *bool { return &p.History }, true},
	{"copy", func(p *Permission) *bool { return &p.Copy }, true},
	{"print", func(p *Permission) *bool { return &p.Print }, true},
	{"export", func(p *Permission) *bool { return &p.Export }, true},
}

// Grants lists the words in which policies and share links give rights. "view" is the right to open
// at all.
func Grants() []string { return Permission{false, true, true, true, true, true}.Grants() }

// PermissionOf turns grants into a Permission; an unknown word is an error that lists the known
// ones.
func PermissionOf(words []string) (Permission, error) {
	for _, word := range words {
		if !slices.Contains(Grants(), word) {
			known := strings.Join(Grants(), ", ")
			return Permission{}, fmt.Errorf("unknown grant %q: use %s", word, known)
		}
	}
	var p Permission
	for _, g := range grants {
		*g.member(&p) = slices.Contains(words, g.word) == g.allowed
	}
	return p, nil
}

// And returns what both permissions allow.
func (p Permission) And(q Permission) Permission {
	for _, g := range grants {
		if *g.member(&q) != g.allowed {
			*g.member(&p) = !g.allowed
		}
	}
	return p
}

// Grants gives p in the words of a policy.
func (p Permission) Grants() []string {
	words := append(make([]string, 0, 1+len(grants)), "view")
	for _, g := range grants {
		if *g.member(&p) == g.allowed {
			words = append(words, g.word)
		}
	}
	return words
}

// Settle returns r as IMM can serve it for its document. r.Permission holds what is granted and
// must be set; it can only shrink:
//   - read-only where the object's or the Filename's format cannot be edited, with PreviewPages,
//     and with CachePreview;
//   - no Export of a PDF, no Print in a cached preview, no Export without Print, no History while
//     read-only;
//   - no Hidecmb while editing (IMM hides the toolbar in previews only).
//
// An upper-case extension gets a Filename with a lower-case one, which IMM needs. The object's own
// extension must be a supported one: the policy's pattern has seen no other. A Filename gives a
// format to an object without one only where the policy vouches for it, by setting or accepting it.
func (r Request) Settle(doc Document, filenameVouchedFor bool) (Request, error) {
	name := r.Filename
	if name == "" {
		name = path.Base(doc.Key)
	}
	byName, named := FormatOf(name)
	byKey, known := FormatOf(doc.Key)
	if !known && filenameVouchedFor {
		byKey, known = byName, named
	}
	if !named || !known {
		return Request{}, ErrFormat.New(strings.Join(Extensions(), ", "))
	}
	if extension := path.Ext(name); extension != strings.ToLower(extension) {
		r.Filename = strings.TrimSuffix(name, extension) + strings.ToLower(extension)
	}
	p := *r.Permission
	cached := r.CachePreview != nil && *r.CachePreview
	p.Readonly = p.Readonly || !byName.Editable || !byKey.Editable || r.PreviewPages != nil ||
		cached
	p.Print = p.Print && !cached
	p.Export = p.Export && p.Print && !byName.PDF && !byKey.PDF
	p.History = p.History && !p.Readonly
	if !p.Readonly {
		r.Hidecmb = nil
	}
	r.Permission = &p
	return r, nil
}
