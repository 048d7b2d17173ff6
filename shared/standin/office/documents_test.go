package office_test

import (
	"bytes"
	"image"
	"image/png"
	"strings"
	"testing"

	"weboffice-functions/shared/standin/office"
)

func TestAddDocument(t *testing.T) {
	w := start(t)
	for uri, good := range map[string]bool{
		"oss://team-docs/a/plan.xlsx": true, "oss://team-docs/a/plan.XLSX": true,
		"oss://team-docs/a/photo.png": false,
		"oss://team-docs/a":           false, "plan.docx": false, "oss://team-docs/a/": false,
	} {
		if err := w.AddDocument(uri, office.Document{Text: "x"}); (err == nil) != good {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if status, body := w.sendChanged(t, "SourceURI=oss://team-docs/a/plan.xlsx"); status != 200 {
		t.Error(status, body)
	}
	if w.Text("oss://team-docs/a/plan.xlsx") != "x" || w.Text("oss://team-docs/absent.docx") != "" {
		t.Error("Text does not tell what was laid there")
	}
}

// TestProjectsAndBucketsOfAPolicy: in a bucket that is made known every object of a supported
// format is there; what AddDocument laid there stays what it is.
func TestProjectsAndBucketsOfAPolicy(t *testing.T) {
	w := start(t)
	for project, bucket := range map[string]string{"office": "team-docs", "archive": "old-docs"} {
		w.AddProject(project)
		w.AddBucket(bucket)
	}
	if err := w.AddDocument("oss://team-docs/plan.docx", office.Document{Text: "x"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		project, uri string
		status       int
	}{
		{"office", "oss://team-docs/teams/red/plan.docx", 200},
		{"archive", "oss://old-docs/budget.xlsx", 200},
		{"office", "oss://team-docs/plan.docx", 200},
		{"office", "oss://team-docs/photo.png", 400},
		{"office", "oss://other-docs/plan.docx", 404},
		{"office", "oss://test-bucket/plan.docx", 404},
		{"other", "oss://team-docs/plan.docx", 404},
	} {
		if status, _ := w.sendChanged(t, "ProjectName="+c.project+"; SourceURI="+
			c.uri); status != c.status {
			t.Errorf("%+v: %d", c, status)
		}
	}
	if w.Text("oss://team-docs/plan.docx") != "x" ||
		!strings.Contains(w.Text("oss://old-docs/budget.xlsx"), "\t") {
		t.Error("a document is replaced by a sample, or a sample is of another kind")
	}
}

// TestFileThatCannotBeRead is shown as what it is, and saved by nobody.
func TestFileThatCannotBeRead(t *testing.T) {
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		t.Fatal(err)
	}
	w := start(t)
	add := func(uri string, d office.Document) error { return w.AddDocument(uri, d) }
	const uri = "oss://test-bucket/report.docx"
	file := office.File{Name: "report.docx", Size: 12345, Pages: 7, Picture: picture.Bytes()}
	if err := add(uri, office.Document{File: &file}); err != nil {
		t.Fatal(err)
	}
	s := w.generate(t, editing+"; SourceURI="+uri)
	got := w.frame(t, s, "open", "one")
	if v := got.View; v == nil || !v.Readonly || v.TotalPages != 7 || v.File == nil ||
		v.File.Name != "report.docx" || v.File.Size != 12345 || v.File.Pages != 7 ||
		!strings.HasPrefix(v.File.Picture, "data:image/png;base64,") {
		t.Errorf("the frame sees %+v", got.View)
	}
	w.frames(t, s, "save one: refused", "Pages", make([]string, 7))
	if err := add(uri, office.Document{File: &office.File{Name: "x"}}); err != nil {
		t.Error(err)
	}
	if v := w.frame(t, s, "open", "one").View; v.File.Picture != "" || v.TotalPages != 1 {
		t.Errorf("the frame sees %+v", v)
	}
	if add(uri, office.Document{Text: "x", File: &file}) == nil ||
		add(uri, office.Document{File: &office.File{Picture: []byte("<svg>")}}) == nil {
		t.Error("a file with a text, or with a script for a picture, is taken")
	}
}
