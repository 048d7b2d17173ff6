package local

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
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

// lay adds the files of a folder to the documents, and says in the log how many it leaves out and
// why.
func (l *Local) lay(folder Folder) error {
	left := map[string]int{}
	err := filepath.WalkDir(folder.Dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder.Dir, file)
		if err != nil {
			return err
		}
		uri := "oss://" + folder.Bucket + "/" + filepath.ToSlash(name)
		if _, supported := weboffice.FormatOf(file); !supported {
			left[path.Ext(uri)+" is not a format that IMM opens"]++
			return nil
		}
		if _, err := weboffice.ParseSourceURI(uri); err != nil {
			left[uri+": "+err.Error()]++
			return nil
		}
		content, err := read(file)
		if err != nil {
			return err
		}
		l.documents = append(l.documents, document{uri, path.Base(uri)})
		return l.IMM.AddDocument(uri, content)
	})
	for _, why := range slices.Sorted(maps.Keys(left)) {
		l.options.Logger.Warn("left out", "folder", folder.Dir, "files", left[why], "why", why)
	}
	return err
}

// longestText is how much of a text file is shown, in bytes.
const longestText = 1 << 20

// read takes in what the stand-in can show of a file: a text's content, and of any other its name,
// size, pages and a picture of the first one, where the file tells them.
func read(file string) (office.Document, error) {
	content, err := os.ReadFile(file)
	shown := &office.File{Name: filepath.Base(file), Size: int64(len(content))}
	text := string(content[:min(len(content), longestText)])
	switch strings.ToLower(path.Ext(file)) {
	case ".txt":
		return office.Document{Text: text}, err
	case ".csv":
		return office.Document{Text: tabbed(text)}, err
	case ".pdf":
		shown.Pages = len(pdfPage.FindAll(content, -1))
	default: // all newer formats are archives
		archive, err := zip.NewReader(bytes.NewReader(content), shown.Size)
		if err == nil {
			describe(archive, shown)
		}
	}
	return office.Document{File: shown}, err
}

// pdfPage is one page of a PDF that does not pack its objects; of others the number stays unknown.
var pdfPage = regexp.MustCompile(`/Type\s*/Page\b`)

// tabbed is comma-separated text as the stand-in shows tables, or as it is where it cannot be read.
func tabbed(text string) string {
	reader := csv.NewReader(strings.NewReader(text))
	reader.FieldsPerRecord = -1
	rows, err := reader.ReadAll()
	if err != nil {
		return text
	}
	var table strings.Builder
	for _, row := range rows {
		fmt.Fprintln(&table, strings.Join(row, "\t"))
	}
	return table.String()
}

// describe takes the number of pages and the picture that an office program left in its file.
func describe(archive *zip.Reader, shown *office.File) {
	var properties struct{ Pages, Slides int }
	if text := part(archive, "docProps/app.xml"); xml.Unmarshal(text, &properties) == nil {
		shown.Pages = max(properties.Pages, properties.Slides)
	}
	for _, name := range []string{"docProps/thumbnail.jpeg", "docProps/thumbnail.png"} {
		picture := part(archive, name)
		switch http.DetectContentType(picture) {
		case "image/png", "image/jpeg":
			shown.Picture = picture
		}
	}
}

// part is a file in an archive, up to a bound that an honest one keeps; nil where it is not there.
func part(archive *zip.Reader, name string) []byte {
	file, err := archive.Open(name)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	content, _ := io.ReadAll(io.LimitReader(file, longestText)) // what cannot be read is nothing
	return content
}
