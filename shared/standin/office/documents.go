package office

import (
	"cmp"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// Document is what lies in a bucket of the stand-in.
type Document struct {
	Title string // default: the object's name
	// pages divided by form feeds; a page's first line is its heading, and in a spreadsheet tabs
	// divide cells
	Text     string
	Pages    int    // how many pages it has, at least; blank ones are added to those in Text
	Password string // what opens it, if anything
	File     *File  // in place of Text: a file whose content the stand-in cannot read
}

// File describes a real office file. The frame shows this description, and nobody can edit it.
type File struct {
	Name    string
	Size    int64   // bytes
	Pages   int     // 0: not known
	Picture Picture // of its first page, if there is one
}

// Picture is a PNG or JPEG image.
type Picture []byte

// MarshalJSON gives a data URL, or "" for no picture.
func (p Picture) MarshalJSON() ([]byte, error) {
	if len(p) == 0 {
		return []byte(`""`), nil
	}
	return json.Marshal("data:" + http.DetectContentType(p) + ";base64," +
		base64.StdEncoding.EncodeToString(p))
}

// document is a Document as the editor changes it. Versions number its saves, starting with 1 for
// what was there.
type document struct {
	Document
	pages    []string
	versions []version
	openings int
}

// version is one saved state, as the history shows it.
type version struct {
	Version int
	Time    time.Time
	User    string
}

const keptVersions = 20

func (d *document) version() int { return d.versions[len(d.versions)-1].Version }

// save replaces the pages that the frame was shown.
func (d *document) save(pages []string, now time.Time, user string) {
	d.pages = slices.Clone(pages)
	d.versions = append(d.versions, version{d.version() + 1, now, user})
	d.versions = d.versions[max(0, len(d.versions)-keptVersions):]
}

//go:embed assets/sample.txt
var sampleText string

//go:embed assets/sample.tsv
var sampleTable string

// sampleDocuments are test-bucket's first content.
func sampleDocuments() map[string]*document {
	documents := map[string]*document{}
	add := func(name string, from Document) {
		documents["oss://test-bucket/"+name] = newDocument(name, from)
	}
	for _, extensions := range formatsByEditorKind {
		for extension := range strings.FieldsSeq(extensions) {
			add("test-object."+extension, sample(extension))
		}
	}
	add("test-object.DOCX", Document{Text: sampleText})
	add("ten-pages.docx", Document{Text: sampleText, Pages: 10})
	return documents
}

// sample is a short document of a format.
func sample(extension string) Document {
	if editorKind(extension) == "s" {
		return Document{Text: sampleTable}
	}
	return Document{Text: strings.Join(strings.Split(sampleText, "\f")[:3], "\f")}
}

func newDocument(object string, from Document) *document {
	d := &document{Document: from, pages: strings.Split(from.Text, "\f"),
		versions: []version{{Version: 1}}}
	d.Title = cmp.Or(d.Title, path.Base(object))
	if from.File != nil {
		from.Pages = from.File.Pages
	}
	for len(d.pages) < from.Pages {
		d.pages = append(d.pages, "")
	}
	return d
}

// AddDocument lays a document at oss://bucket/object, over one that is there; any bucket will do.
// The extension, in lower case, must be a supported format's.
func (s *Server) AddDocument(uri string, d Document) error {
	_, object := bucketAndObject(uri)
	switch {
	case object == "":
		return errors.New("not of the form oss://bucket/object")
	case editorKind(strings.ToLower(extension(object))) == "":
		return errors.New("not a format that IMM opens")
	case d.File != nil && d.Text != "":
		return errors.New("a document has a Text or a File, not both")
	case d.File != nil && len(d.File.Picture) > 0 &&
		!slices.Contains([]string{"image/png", "image/jpeg"},
			http.DetectContentType(d.File.Picture)):
		return errors.New("a picture must be a PNG or a JPEG")
	}
	s.locked(func() { s.documents[uri] = newDocument(object, d) })
	return nil
}

// find returns the document at a URI, or nil; the caller holds the lock.
func (s *Server) find(uri string) *document {
	bucket, object := bucketAndObject(uri)
	if s.documents[uri] == nil && s.buckets[bucket] {
		if format := strings.ToLower(extension(object)); editorKind(format) != "" {
			s.documents[uri] = newDocument(object, sample(format))
		}
	}
	return s.documents[uri]
}

// Openings counts the frames that opened a document; 0 for one that is not there.
func (s *Server) Openings(uri string) (n int) {
	s.look(uri, func(d *document) { n = d.openings })
	return n
}

// Text returns a document's text as it was saved last, pages divided by form feeds; "" for one that
// is not there.
func (s *Server) Text(uri string) (text string) {
	s.look(uri, func(d *document) { text = strings.Join(d.pages, "\f") })
	return text
}

func (s *Server) look(uri string, at func(*document)) {
	s.locked(func() {
		if found := s.documents[uri]; found != nil {
			at(found)
		}
	})
}
