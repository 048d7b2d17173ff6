package weboffice

import (
	"path"
	"slices"
	"strings"
)

// Format is what IMM can do with one kind of file.
type Format struct{ Editable, PDF bool }

// The vendor's tables of formats. rtf, csv and pdf are preview-only by the table of the quick
// start; txt stands in no editing list.
var (
	editable = strings.Fields(
		"doc docx dot wps wpt dotx docm dotm ppt pptx pptm ppsx ppsm pps potx potm dpt dps et xls xlt xlsx xlsm xltx xltm")
	previewOnly = strings.Fields("txt rtf csv pdf")
)

// Extensions lists the supported extensions, without dots.
func Extensions() []string { return slices.Concat(editable, previewOnly) }

// FormatOf returns the format that a name's extension stands for, in any case; false for a name
// without a supported one.
func FormatOf(name string) (Format, bool) {
	extension := strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
	f := Format{Editable: slices.Contains(editable, extension), PDF: extension == "pdf"}
	return f, f.Editable || slices.Contains(previewOnly, extension)
}

// Settle returns r as IMM can serve it for its document. r.Permission holds what is granted and
// must be set; it can only shrink:
//   - read-only where the object's or the Filename's format cannot be edited, with PreviewPages,
//     and with CachePreview;
//   - no Export of a PDF, no Print in a cached preview, no Export without Print, no History while
//     read-only;
//   - no Hidecmb while editing (IMM hides the toolbar in previews only).
//
// An upper-case extension gets a Filename with a lower-case one, which IMM needs. An object whose
// extension is none of the supported ones opens by its Filename; without a Filename that is a 400.
func (r Request) Settle(doc Document) (Request, error) {
	name := r.Filename
	if name == "" {
		name = path.Base(doc.Key)
	}
	byName, ok := FormatOf(name)
	if !ok {
		return Request{}, ErrFormat.New(strings.Join(Extensions(), ", "))
	}
	byKey, ok := FormatOf(doc.Key)
	if !ok {
		byKey = byName
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
