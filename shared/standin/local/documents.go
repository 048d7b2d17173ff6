package local

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// Folder is a folder whose files are laid into one of the stand-in's buckets.
type Folder struct{ Bucket, Dir string }

// document is one that the sample page offers.
type document struct {
	URI   string `json:"uri"`
	Title string `json:"title"`
}

// samples are the stand-in's own documents that the sample page offers.
var samples = []document{
	{"oss://test-bucket/test-object.docx", "Word"},
	{"oss://test-bucket/test-object.xlsx", "Excel"},
	{"oss://test-bucket/test-object.pptx", "PowerPoint"},
	{"oss://test-bucket/test-object.pdf", "PDF"},
	{"oss://test-bucket/test-object.txt", "Text"},
	{"oss://test-bucket/test-object.DOCX", "Upper-case name"},
	{"oss://test-bucket/ten-pages.docx", "Ten pages"},
}

// layDocuments adds the files of folders to the samples, and says in the log which it leaves out.
func (l *Local) layDocuments(folders []Folder) error {
	l.documents = append(l.documents, samples...)
	for _, folder := range folders {
		err := filepath.WalkDir(folder.Dir, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			return l.layDocument(folder, file)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// layDocument lays a file into the stand-in: its text, or a line about it where it is none.
func (l *Local) layDocument(folder Folder, file string) error {
	name, err := filepath.Rel(folder.Dir, file)
	if err != nil {
		return err
	}
	uri := "oss://" + folder.Bucket + "/" + filepath.ToSlash(name)
	if _, supported := weboffice.FormatOf(file); !supported {
		l.options.Logger.Warn("left out: not a format that IMM opens", "document", uri)
		return nil
	}
	if _, err := weboffice.ParseSourceURI(uri); err != nil {
		l.options.Logger.Warn("left out: "+err.Error(), "document", uri)
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	title := path.Base(uri)
	text := fmt.Sprintf("%s\n\n%d bytes. The stand-in shows text files only.", title, len(content))
	if format := path.Ext(uri); strings.EqualFold(format, ".txt") ||
		strings.EqualFold(format, ".csv") {
		text = string(content)
	}
	l.documents = append(l.documents, document{uri, title})
	return l.IMM.AddDocument(uri, office.Document{Title: title, Text: text})
}
