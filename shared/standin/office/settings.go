package office

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxUserData     = 2048 // bytes
	maxUserName     = 32   // characters
	maxPreviewPages = 5000
)

var (
	userIDForm         = regexp.MustCompile(`^[A-Za-z0-9]{1,15}$`)
	documentedUserName = regexp.MustCompile(`^[A-Za-z0-9\-_+/=@]{1,32}$`)
	avatarForm         = regexp.MustCompile(`^https?://[^\s]+$`)
)

// settings are what one Generate fixes, for the frame and for every refresh.
type settings struct {
	project, uri, password                        string
	readonly                                      bool // as asked
	previewPages                                  int  // 0: all
	Rename, History, Copy, Export, Print, Hidecmb bool
	Cached                                        bool
	Name, UserID, UserName                        string
	Watermark                                     map[string]any
}

// preview says whether the frame must refuse edits: as asked, or because pages or a cache limit
// what is shown.
func (c *settings) preview() bool { return c.readonly || c.Cached || c.previewPages > 0 }

// newSettings checks every rule of GenerateWebofficeToken that concerns more than a parameter's
// type.
func newSettings(values map[string]any, strictName bool) (*settings, *apiError) {
	c := &settings{}
	for name, field := range map[string]*string{"ProjectName": &c.project, "SourceURI": &c.uri,
		"Filename": &c.Name, "Password": &c.password} {
		*field, _ = values[name].(string)
	}
	permission, _ := values["Permission"].(map[string]any)
	for name, field := range map[string]*bool{"Readonly": &c.readonly, "Rename": &c.Rename,
		"History": &c.History, "Copy": &c.Copy, "Export": &c.Export, "Print": &c.Print} {
		*field, _ = permission[name].(bool)
	}
	c.Cached, _ = values["CachePreview"].(bool)
	c.Hidecmb, _ = values["Hidecmb"].(bool)
	pages, limited := values["PreviewPages"].(int64)
	c.previewPages = int(pages)
	if c.Name == "" {
		c.Name = c.uri[strings.LastIndexByte(c.uri, '/')+1:]
	}
	userData, _ := values["UserData"].(string)
	_, object := bucketAndObject(c.uri)
	switch {
	case object == "":
		return nil, invalid("SourceURI")
	case strings.ContainsAny(c.Name, `/\`) || editorKind(extension(c.Name)) == "":
		return nil, invalid("Filename")
	case limited && (pages < 1 || pages > maxPreviewPages):
		return nil, invalid("PreviewPages")
	case len(userData) > maxUserData:
		return nil, invalid("UserData")
	}
	user, _ := values["User"].(map[string]any)
	c.Watermark, _ = values["Watermark"].(map[string]any)
	for _, failure := range []*apiError{c.takeUser(user, strictName), checkWatermark(c.Watermark),
		c.checkCombinations()} {
		if failure != nil {
			return nil, failure
		}
	}
	return c, nil
}

// takeUser checks User. Its reference calls it optional and an error page required: a caller that
// leaves it out relies on one.
func (c *settings) takeUser(user map[string]any, strictName bool) *apiError {
	id, hasID := user["Id"].(string)
	name, hasName := user["Name"].(string)
	avatar, hasAvatar := user["Avatar"].(string)
	switch {
	case user == nil:
		return argument("User", "The parameter User is required but not provided")
	case hasID && !userIDForm.MatchString(id):
		return argument("User", "User.Id is not 1 to 15 letters or digits")
	case hasName && (name == "" || utf8.RuneCountInString(name) > maxUserName):
		return argument("User", "User.Name is not 1 to 32 characters")
	case hasName && strictName && !documentedUserName.MatchString(name):
		return userNameRefused
	case hasAvatar && !avatarForm.MatchString(avatar):
		return argument("User", "User.Avatar is not a URL")
	}
	c.UserID, c.UserName = cmp.Or(id, randomHex(7)), cmp.Or(name, "Unknown")
	return nil
}

func checkWatermark(watermark map[string]any) *apiError {
	kind, given := watermark["Type"].(json.Number)
	switch {
	case given && kind != "0" && kind != "1":
		return argument("Watermark", "Watermark.Type is neither 0 nor 1")
	case kind == "1" && (watermark["Value"] == nil || watermark["Value"] == ""):
		return argument("Watermark", "Watermark.Value is missing")
	}
	return nil
}

// checkCombinations refuses what IMM cannot serve, so that nobody believes a right to be granted
// that is not.
func (c *settings) checkCombinations() *apiError {
	formats := []string{strings.ToLower(extension(c.Name)), strings.ToLower(extension(c.uri))}
	previewOnly := slices.ContainsFunc(formats,
		func(format string) bool { return previewOnlyFormats[format] })
	for _, rule := range []struct {
		broken            bool
		parameter, reason string
	}{
		{previewOnly && !c.readonly, "Permission",
			"This format can only be previewed: Readonly must be true"},
		{c.Export && slices.Contains(formats, "pdf"), "Permission", "A PDF cannot be exported"},
		{c.Cached && !c.readonly, "CachePreview", "A cached preview needs Readonly"},
		{c.Cached && c.Print, "Permission", "A cached preview cannot be printed"},
		{c.Export && !c.Print, "Permission", "Export needs Print"},
		{c.History && c.preview(), "Permission",
			"Historical versions can be viewed only while editing"},
		{c.Hidecmb && !c.readonly, "Hidecmb",
			"The toolbar can be hidden only in a preview: Readonly must be true"},
	} {
		if rule.broken {
			return argument(rule.parameter, rule.reason)
		}
	}
	return nil
}

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
