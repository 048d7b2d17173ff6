package office

import (
	"regexp"
	"strings"
)

// formatsByEditorKind has the letter of the editor, as it stands in a WebofficeURL.
var formatsByEditorKind = map[string]string{
	"w": "doc docx txt dot wps wpt dotx docm dotm rtf",
	"p": "ppt pptx pptm ppsx ppsm pps potx potm dpt dps",
	"s": "et xls xlt xlsx xlsm xltx xltm csv",
	"f": "pdf",
}

var previewOnlyFormats = map[string]bool{"pdf": true, "rtf": true, "csv": true, "txt": true}

// editorKind returns the letter of the editor for a lower-case extension, or "" for a format that
// is not supported.
func editorKind(extension string) string {
	for letter, extensions := range formatsByEditorKind {
		if extension != "" && strings.Contains(" "+extensions+" ", " "+extension+" ") {
			return letter
		}
	}
	return ""
}

// extension returns what follows the last dot of a name's last segment, as spelt, or "".
func extension(name string) string {
	name = name[strings.LastIndexByte(name, '/')+1:]
	if dot := strings.LastIndexByte(name, '.'); dot > 0 {
		return name[dot+1:]
	}
	return ""
}

const maxObject = 1023 // bytes, OSS's limit

var sourceURIForm = regexp.MustCompile(`^oss://([a-z0-9][a-z0-9-]{1,61}[a-z0-9])/([^/\\].*)$`)

// bucketAndObject takes oss://bucket/object apart; both are "" for what is no such URI.
func bucketAndObject(uri string) (bucket, object string) {
	parts := sourceURIForm.FindStringSubmatch(uri)
	if parts == nil || len(parts[2]) > maxObject || strings.HasSuffix(uri, "/") {
		return "", ""
	}
	return parts[1], parts[2]
}
