package office

import (
	_ "embed"
	"errors"
	"slices"
	"strings"
	"time"
)

// Document is what lies in the stand-in's bucket. Real office files are not read: the content is
// plain text.
type Document struct {
	Title string // default: the object's name
	// pages divided by form feeds; a page's first line is its heading, and in a spreadsheet tabs
	// divide cells
	Text     string
	Pages    int    // how many pages it has, at least; blank ones are added to those in Text
	Password string // what opens it, if anything
}

// document is a Document as the editor changes it. Versions number its saves, starting with 1 for
// what was there.
type document struct {
	title    string
	pages    []string
	password string
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

// sampleDocuments are the bucket's first content.
func sampleDocuments() map[string]*document {
	documents := map[string]*document{}
	for letter, extensions := range formatsByEditorKind {
		for _, extension := range strings.Fields(extensions) {
			sample := Document{Text: strings.Join(strings.Split(sampleText, "\f")[:3], "\f")}
			if letter == "s" {
				sample.Text = sampleTable
			}
			documents["oss://test-bucket/test-object."+extension] = newDocument("test-object."+
				extension, sample)
		}
	}
	documents["oss://test-bucket/test-object.DOCX"] = newDocument("test-object.DOCX",
		Document{Text: sampleText})
	documents["oss://test-bucket/ten-pages.docx"] = newDocument("ten-pages.docx",
		Document{Text: sampleText, Pages: 10})
	return documents
}

func newDocument(name string, from Document) *document {
	d := &document{title: from.Title, pages: strings.Split(from.Text, "\f"),
		password: from.Password, versions: []version{{Version: 1}}}
	if d.title == "" {
		d.title = name
	}
	for len(d.pages) < from.Pages {
		d.pages = append(d.pages, "")
	}
	return d
}

// AddDocument lays a document at oss://bucket/object, over one that is there; any bucket will do.
// The extension, in lower case, must be a supported format's.
func (s *Server) AddDocument(uri string, d Document) error {
	object := objectOf(uri)
	if object == "" {
		return errors.New("not of the form oss://bucket/object")
	}
	if editorKind(strings.ToLower(extension(object))) == "" {
		return errors.New("not a format that IMM opens")
	}
	s.locked(func() {
		s.documents[uri] = newDocument(object[strings.LastIndexByte(object, '/')+1:],
			d)
	})
	return nil
}

// Openings counts the frames that opened a document; 0 for one that is not there.
func (s *Server) Openings(uri string) (n int) {
	s.locked(func() {
		if found := s.documents[uri]; found != nil {
			n = found.openings
		}
	})
	return n
}

// Text returns a document's text as it was saved last, pages divided by form feeds; "" for one that
// is not there.
func (s *Server) Text(uri string) (text string) {
	s.locked(func() {
		if found := s.documents[uri]; found != nil {
			text = strings.Join(found.pages, "\f")
		}
	})
	return text
}
