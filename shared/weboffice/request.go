package weboffice

import (
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
func ParameterNames() []string {
	t := reflect.TypeFor[Request]()
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Name
	}
	return names
}

// ParseRequest reads a JSON object of parameters. Structures may be objects, JSON in a string or
// single-quoted text in a string; booleans and numbers may be quoted. Errors are 400s that name the
// parameter: unknown or repeated names included. The values are not yet held to their limits: see
// Validate.
func ParseRequest(body []byte) (Request, error) {
	return decode[Request](body)
}

// ParseQuery reads the parameters of a GET, each as one text; jQuery's Permission[Readonly]=true is
// read too.
func ParseQuery(query url.Values) (Request, error) { return parseQuery(query, ParseRequest) }

func parseQuery[T any](query url.Values, parse func(body []byte) (T, error)) (T, error) {
	body, err := queryObject(query)
	if err != nil {
		var none T
		return none, err
	}
	return parse(body)
}

// queryObject turns a query into the JSON object that it stands for.
func queryObject(query url.Values) ([]byte, error) {
	object := map[string]any{}
	for name, values := range query {
		outer, inner, nested := strings.Cut(strings.TrimSuffix(name, "]"), "[")
		if len(values) != 1 {
			return nil, repeated(outer)
		}
		if !utf8.ValidString(name + values[0]) { // json.Marshal would replace what is not
			return nil, ErrQuery.New()
		}
		members, apart := object[outer].(map[string]any)
		switch nested = nested && strings.HasSuffix(name, "]"); {
		case !nested && object[name] != nil:
			return nil, repeated(name)
		case !nested:
			object[name] = values[0]
		case apart:
			members[inner] = values[0]
		case object[outer] != nil:
			return nil, repeated(outer)
		default:
			object[outer] = map[string]any{inner: values[0]}
		}
	}
	return json.Marshal(object)
}

// Sent lists the parameters that r holds, in the order of ParameterNames.
func (r Request) Sent() []string {
	v := reflect.ValueOf(r)
	var names []string
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
	for _, p := range []struct{ name, text string }{
		{"ProjectName", r.ProjectName}, {"Filename", r.Filename}, {"Referer", r.Referer},
		{"Password", r.Password.Reveal()}, {"NotifyTopicName", r.NotifyTopicName},
	} {
		if !plain(p.text, maxText) {
			return ErrText.New(p.name, maxText)
		}
	}
	if len(r.UserData) > MaxUserData || !utf8.ValidString(r.UserData) {
		return ErrUserData.New(MaxUserData)
	}
	if r.PreviewPages != nil && (*r.PreviewPages < 1 || *r.PreviewPages > MaxPreviewPages) {
		return ErrPreviewPages.New()
	}
	if strings.ContainsAny(r.Filename, `/\`) {
		return ErrFilename.New()
	}
	if _, ok := FormatOf(r.Filename); !ok && r.Filename != "" {
		return ErrFilenameFormat.New(strings.Join(Extensions(), ", "))
	}
	if w := r.Watermark; w != nil {
		if w.Type != nil && *w.Type != 0 && *w.Type != 1 {
			return ErrWatermarkType.New()
		}
		if !plain(w.Value+w.Font+w.FillStyle, maxText) {
			return ErrWatermarkText.New(maxText)
		}
	}
	for _, p := range []struct {
		name  string
		value any
	}{{"CredentialConfig", r.CredentialConfig}, {"Notification", r.Notification}} {
		if text, err := json.Marshal(p.value); err != nil || len(text) > maxStructure {
			return ErrStructure.New(p.name, maxStructure)
		}
	}
	u := r.User
	if u != nil && (!plain(u.Id, 64) || len(u.Name) > 128 || !plain(u.Avatar, maxText)) {
		return ErrUser.New(maxText)
	}
	return nil
}

// plain keeps control characters out as well because JSON writes one in six bytes: what is accepted
// must fit into a sealed token.
func plain(text string, limit int) bool {
	return len(text) <= limit && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, unicode.IsControl)
}

// RefreshRequest holds what a page sends to refresh. RefreshToken is the sealed one.
type RefreshRequest struct{ AccessToken, RefreshToken Secret }

// ParseRefresh reads a JSON object with AccessToken and RefreshToken, both required.
func ParseRefresh(body []byte) (RefreshRequest, error) {
	r, err := decode[RefreshRequest](body)
	switch {
	case err != nil:
		return RefreshRequest{}, err
	case r.AccessToken == "":
		return RefreshRequest{}, ErrTokenMissing.New("AccessToken")
	case r.RefreshToken == "":
		return RefreshRequest{}, ErrTokenMissing.New("RefreshToken")
	}
	return r, nil
}

// ParseRefreshQuery reads the two from the query of a GET.
func ParseRefreshQuery(query url.Values) (RefreshRequest, error) {
	return parseQuery(query, ParseRefresh)
}
