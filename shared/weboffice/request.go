package weboffice

import (
	"cmp"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Request holds the parameters of GenerateWebofficeToken under the vendor's own names; a zero field
// is a parameter that was not sent. Its JSON form leaves Password out: whoever must keep the
// password takes it by Reveal.
type Request struct {
	ProjectName string `json:",omitempty"`
	SourceURI   string `json:",omitempty"` // oss://bucket/key
	// with a supported extension; default: the last segment of SourceURI
	Filename string `json:",omitempty"`
	// a snapshot: no live updates, no search, no print; read-only
	CachePreview *bool  `json:",omitempty"`
	Referer      string `json:",omitempty"` // for OSS hotlink protection
	// at most 2,048 bytes, comes back in notifications
	UserData string `json:",omitempty"`
	// 1 to 5,000: only the first pages; read-only
	PreviewPages     *int64            `json:",omitempty"`
	Password         Secret            `json:"-"` // opens a protected document
	ExternalUploaded *bool             `json:",omitempty"`
	NotifyTopicName  string            `json:",omitempty"`
	Hidecmb          *bool             `json:",omitempty"` // hide the toolbar, preview only
	Permission       *Permission       `json:",omitempty"`
	User             *User             `json:",omitempty"`
	Watermark        *Watermark        `json:",omitempty"`
	CredentialConfig *CredentialConfig `json:",omitempty"`
	Notification     *Notification     `json:",omitempty"`
}

// User is who the editor shows. Users with different Ids are different people to the editor's
// comments.
type User struct {
	Id     string `json:",omitempty"`
	Name   string `json:",omitempty"`
	Avatar string `json:",omitempty"`
}

// Watermark is drawn over the document by the front end and is never written to the file.
type Watermark struct {
	Type       *int64   `json:",omitempty"` // 0 none, 1 text
	Value      string   `json:",omitempty"`
	Font       string   `json:",omitempty"` // as in CSS: bold 20px Serif
	FillStyle  string   `json:",omitempty"` // rgba(192,192,192,0.6)
	Rotate     *float64 `json:",omitempty"` // radians
	Horizontal *int64   `json:",omitempty"` // px
	Vertical   *int64   `json:",omitempty"` // px
}

// CredentialConfig is IMM's chained authorization.
type CredentialConfig struct {
	ServiceRole string                  `json:",omitempty"`
	Policy      string                  `json:",omitempty"` // an inline session policy, JSON text
	Chain       []CredentialConfigChain `json:",omitempty"`
}

// CredentialConfigChain is one step of CredentialConfig.
type CredentialConfigChain struct {
	Role          string `json:",omitempty"`
	RoleType      string `json:",omitempty"`
	AssumeRoleFor string `json:",omitempty"`
}

// Notification says where IMM reports saves and renames.
type Notification struct {
	ExtendedMessageURI string    `json:",omitempty"`
	MNS                *MNS      `json:",omitempty"`
	RocketMQ           *RocketMQ `json:",omitempty"`
}

// MNS is a Message Service topic.
type MNS struct {
	TopicName string `json:",omitempty"`
}

// RocketMQ is a RocketMQ topic.
type RocketMQ struct {
	InstanceId string `json:",omitempty"`
	TopicName  string `json:",omitempty"`
}

// The vendor's limits.
const (
	MaxPreviewPages = 5000
	MaxUserData     = 2048 // bytes
	// ours, in bytes, where the vendor states none
	maxText      = 1024 // every other text parameter
	maxStructure = 4096 // CredentialConfig and Notification, which hold policies and names
)

// ParameterNames lists the parameters of GenerateWebofficeToken in the vendor's spelling.
func ParameterNames() []string { return fieldNames(reflect.TypeFor[Request]()) }

// ParseRequest reads a JSON object of parameters. Structures may be objects, JSON in a string or
// single-quoted text in a string; booleans and numbers may be quoted. Errors are 400s that name the
// parameter: unknown or repeated names included. The values are not yet held to their limits: see
// Validate.
func ParseRequest(body []byte) (Request, error) { return decode[Request](body) }

// BodyOf gives the JSON object that the query of a GET stands for: each parameter is one text, or,
// as jQuery sends a structure, one for each member (Permission[Readonly]=true).
func BodyOf(rawQuery string) ([]byte, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, ErrQuery.New()
	}
	members := map[string][]string{} // of each structure; "": parameters
	for name, values := range query {
		outer, inner, nested := strings.Cut(strings.TrimSuffix(name, "]"), "[")
		if outer == "" || !nested || !strings.HasSuffix(name, "]") {
			outer, inner = "", name
		}
		for _, value := range values {
			if !utf8.ValidString(name + value) { // json.Marshal would replace what is not
				return nil, ErrQuery.New()
			}
			if name == "Password" && value != "" {
				return nil, ErrPasswordInURL.New()
			}
			members[outer] = append(members[outer], quote(inner)+":"+quote(value))
		}
	}
	parameters := members[""]
	delete(members, "")
	for name, inner := range members {
		parameters = append(parameters, quote(name)+":{"+strings.Join(inner, ",")+"}")
	}
	return []byte("{" + strings.Join(parameters, ",") + "}"), nil
}

func quote(text string) string {
	quoted, _ := json.Marshal(text) // a string: it cannot fail
	return string(quoted)
}

// Sent lists the parameters that r holds, in the order of ParameterNames.
func (r Request) Sent() (names []string) {
	v := reflect.ValueOf(r)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			names = append(names, v.Type().Field(i).Name)
		}
	}
	return names
}

// With returns r with the parameters that other holds put over it.
func (r Request) With(other Request) Request {
	to, from := reflect.ValueOf(&r).Elem(), reflect.ValueOf(other)
	for i := range from.NumField() {
		if !from.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
	return r
}

// Validate holds every parameter that r holds to the vendor's limits. SourceURI is judged by
// ParseSourceURI.
func (r Request) Validate() error {
	user, mark := cmp.Or(r.User, &User{}), cmp.Or(r.Watermark, &Watermark{})
	for _, p := range []struct {
		name, text string
		limit      int // bytes
	}{
		{"ProjectName", r.ProjectName, maxText}, {"Filename", r.Filename, maxText},
		{"Referer", r.Referer, maxText}, {"Password", r.Password.Reveal(), maxText},
		{"NotifyTopicName", r.NotifyTopicName, maxText}, {"User.Id", user.Id, 64},
		{"User.Avatar", user.Avatar, maxText},
		{"Watermark", mark.Value + mark.Font + mark.FillStyle, maxText},
	} {
		// JSON writes a control character in six bytes, and a sealed token must hold all of it
		if len(p.text) > p.limit || !utf8.ValidString(p.text) ||
			strings.ContainsFunc(p.text, unicode.IsControl) {
			return ErrText.of("", p.name, p.limit)
		}
	}
	_, known := FormatOf(r.Filename)
	switch {
	case len(r.UserData) > MaxUserData || !utf8.ValidString(r.UserData):
		return ErrLong.of("", "UserData", MaxUserData)
	case len(user.Name) > 128: // the rest of it is cleaned
		return ErrLong.of("User", "Name", 128)
	case r.PreviewPages != nil && (*r.PreviewPages < 1 || *r.PreviewPages > MaxPreviewPages):
		return ErrPreviewPages.New()
	case strings.ContainsAny(r.Filename, `/\`):
		return ErrFilename.New()
	case r.Filename != "" && !known:
		return ErrFilenameFormat.New(strings.Join(Extensions(), ", "))
	case mark.Type != nil && *mark.Type != 0 && *mark.Type != 1:
		return ErrWatermarkType.New()
	case r.CredentialConfig == nil && r.Notification == nil: // nearly always
		return nil
	}
	for i, structure := range []any{r.CredentialConfig, r.Notification} {
		if text, err := json.Marshal(structure); err != nil || len(text) > maxStructure {
			name := []string{"CredentialConfig", "Notification"}[i]
			return ErrStructure.New(name, maxStructure)
		}
	}
	return nil
}

// RefreshRequest holds what a page sends to refresh. RefreshToken is the sealed one.
type RefreshRequest struct{ AccessToken, RefreshToken Secret }

// ParseRefresh reads a JSON object with AccessToken and RefreshToken, both required.
func ParseRefresh(body []byte) (RefreshRequest, error) {
	r, err := decode[RefreshRequest](body)
	const remedy = "AccessToken and RefreshToken as generate or the last refresh gave them"
	switch {
	case err != nil:
	case r.AccessToken == "":
		err = ErrMissing.New("AccessToken", remedy)
	case r.RefreshToken == "":
		err = ErrMissing.New("RefreshToken", remedy)
	default:
		return r, nil
	}
	return RefreshRequest{}, err
}
