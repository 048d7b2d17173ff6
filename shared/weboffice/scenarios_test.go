package weboffice

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// scenarios are the parameters of the vendor's pages in the vendor's spellings; expected is what
// they mean.
var scenarios = []struct {
	name, body string
	want       Request
}{
	{"quick start", `{"ProjectName":"test-project","SourceURI":"oss://test-bucket/test-object.docx","Filename":"test-object.docx",
		"UserData":"{\"fid\": \"123\"}","PreviewPages":3,"Permission":"{\"Rename\": \"true\", \"Readonly\": \"false\"}",
		"User":"{\"Id\": \"test\", \"Name\": \"testuser\", \"Avatar\": \"http://xx.com/avatar.jpg\"}","Watermark":"{\"Type\": \"1\", \"Value\": \"imm\"}"}`,
		Request{ProjectName: "test-project", SourceURI: "oss://test-bucket/test-object.docx",
			Filename: "test-object.docx", UserData: `{"fid": "123"}`,
			PreviewPages: ptr(int64(3)), Permission: &Permission{Rename: true},
			User:      &User{"test", "testuser", "http://xx.com/avatar.jpg"},
			Watermark: &Watermark{Type: ptr(int64(1)), Value: "imm"}}},
	{"read-only PDF under a Word name", `{"ProjectName":"test-project","SourceURI":"oss://test-bucket/test-object.pdf","Filename":"test-object.docx",
		"PreviewPages":"5","Permission":"{'Readonly':'true'}"}`,
		Request{ProjectName: "test-project", SourceURI: "oss://test-bucket/test-object.pdf",
			Filename:     "test-object.docx",
			PreviewPages: ptr(int64(5)), Permission: &Permission{Readonly: true}}},
	{"upper-case extension", `{"ProjectName":"test-project","SourceURI":"oss://test-bucket/test-object.DOCX","Filename":"test-object.docx",
		"PreviewPages":"5","Permission":"{'Readonly':'true'}"}`,
		Request{ProjectName: "test-project", SourceURI: "oss://test-bucket/test-object.DOCX",
			Filename:     "test-object.docx",
			PreviewPages: ptr(int64(5)), Permission: &Permission{Readonly: true}}},
	{"password", `{"ProjectName":"test-project","SourceURI":"oss://test-bucket/test-object.docx","Filename":"test-object.docx",
		"Password":"123456","Permission":"{'Readonly':'true'}"}`,
		Request{ProjectName: "test-project", SourceURI: "oss://test-bucket/test-object.docx",
			Filename: "test-object.docx",
			Password: "123456", Permission: &Permission{Readonly: true}}},
	{"watermark",
		`{"SourceURI":"oss://test-bucket/test-object.docx","Watermark":"{'Type':'1','Value':'水印值','Font':'bold 20px Serif'}","Permission":"{'Readonly':'true'}"}`,
		Request{SourceURI: "oss://test-bucket/test-object.docx",
			Permission: &Permission{Readonly: true},
			Watermark:  &Watermark{Type: ptr(int64(1)), Value: "水印值", Font: "bold 20px Serif"}}},
	{"hidden toolbar",
		`{"SourceURI":"oss://test-bucket/test-object.docx","Hidecmb":"true","Permission":"{'Readonly':'true'}"}`,
		Request{SourceURI: "oss://test-bucket/test-object.docx", Hidecmb: ptr(true),
			Permission: &Permission{Readonly: true}}},
	{"all rights",
		`{"SourceURI":"oss://test-bucket/test-object.docx","Permission":"{'Readonly':'false','History':'true','Copy':'true','Print':'true','Export':'true'}"}`,
		Request{SourceURI: "oss://test-bucket/test-object.docx",
			Permission: &Permission{History: true, Copy: true, Print: true, Export: true}}},
	{"every structure as an object", `{"SourceURI":"oss://b-1/k.pptx","CachePreview":true,"ExternalUploaded":"false","Referer":"*","NotifyTopicName":"t",
		"Watermark":{"Type":0,"FillStyle":"rgba(192,192,192,0.6)","Rotate":-0.5,"Horizontal":"50","Vertical":100},
		"CredentialConfig":{"ServiceRole":"r","Policy":"{}","Chain":[{"Role":"a","RoleType":"service","AssumeRoleFor":"1"}]},
		"Notification":"{'MNS':{'TopicName':'saves'},'RocketMQ':{'InstanceId':'i','TopicName':'q'},'ExtendedMessageURI':'u'}"}`,
		Request{SourceURI: "oss://b-1/k.pptx", CachePreview: ptr(true),
			ExternalUploaded: ptr(false), Referer: "*", NotifyTopicName: "t",
			Watermark: &Watermark{Type: ptr(int64(0)), FillStyle: "rgba(192,192,192,0.6)",
				Rotate: ptr(-0.5), Horizontal: ptr(int64(50)), Vertical: ptr(int64(100))},
			CredentialConfig: &CredentialConfig{ServiceRole: "r", Policy: "{}",
				Chain: []CredentialConfigChain{{"a", "service", "1"}}},
			Notification: &Notification{ExtendedMessageURI: "u", MNS: &MNS{"saves"},
				RocketMQ: &RocketMQ{"i", "q"}}}},
}

func ptr[T any](v T) *T { return &v }

func TestScenariosOfTheVendorsPagesAreRead(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			got, err := ParseRequest([]byte(s.body))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, s.want) {
				t.Errorf("got  %+v\nwant %+v", got, s.want)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
			if _, err := ParseSourceURI(got.SourceURI); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestQueryReadsWhatABodyReads(t *testing.T) {
	got, err := ParseQuery(url.Values{"SourceURI": {"oss://test-bucket/a.docx"},
		"Permission[Readonly]": {"true"}, "Permission[Copy]": {"true"}, "PreviewPages": {"2"}})
	want := Request{SourceURI: "oss://test-bucket/a.docx",
		Permission: &Permission{Readonly: true, Copy: true}, PreviewPages: ptr(int64(2))}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, query := range map[string]url.Values{
		"twice": {"SourceURI": {"oss://test-bucket/a.docx",
			"oss://test-bucket/b.docx"}},
		"whole and by part": {"Permission": {"{}"}, "Permission[Copy]": {"true"}},
		"unknown member":    {"Permission[Edit]": {"true"}},
		"part twice":        {"Permission[Copy]": {"true", "false"}},
		"other case":        {"sourceuri": {"oss://test-bucket/a.docx"}},
	} {
		if got, err := ParseQuery(query); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func TestBadInputNamesTheParameter(t *testing.T) {
	for body, code := range map[string]string{
		`[]`:                              "InvalidArgument",
		`{"SourceURI":"a"} {}`:            "InvalidArgument",
		`{"SourceURI":"a","SourceURI":1}`: "InvalidArgument.SourceURI",
		`{"SourceURI":"oss://bucket/a.docx","sourceURI":"oss://bucket/b.docx"}`: "InvalidArgument.sourceURI",
		`{"Sourceuri ":"a"}`:                               "InvalidArgument",
		`{"SourceURI":7}`:                                  "InvalidArgument.SourceURI",
		`{"Hidecmb":"yes"}`:                                "InvalidArgument.Hidecmb",
		`{"Hidecmb":1}`:                                    "InvalidArgument.Hidecmb",
		`{"PreviewPages":0}`:                               "InvalidPreviewPages",
		`{"PreviewPages":-1}`:                              "InvalidPreviewPages",
		`{"PreviewPages":"0"}`:                             "InvalidPreviewPages",
		`{"PreviewPages":2.5}`:                             "InvalidPreviewPages",
		`{"PreviewPages":"2.5"}`:                           "InvalidPreviewPages",
		`{"PreviewPages":5001}`:                            "InvalidPreviewPages",
		`{"PreviewPages":1e3}`:                             "InvalidPreviewPages",
		`{"Permission":"{'Readonly':'true'"}`:              "InvalidJSON parsing error, Permission",
		`{"Permission":[]}`:                                "InvalidJSON parsing error, Permission",
		`{"Permission":"true"}`:                            "InvalidJSON parsing error, Permission",
		`{"Permission":{"Edit":true}}`:                     "InvalidArgument.Permission",
		`{"Permission":{"Copy":true,"Copy":false}}`:        "InvalidArgument.Permission",
		`{"User":"test"}`:                                  "InvalidJSON parsing error, User",
		`{"Watermark":"x"}`:                                "InvalidJSON parsing error, Watermark",
		`{"Watermark":{"Type":2}}`:                         "InvalidArgument.Watermark",
		`{"Watermark":{"Rotate":"NaN"}}`:                   "InvalidArgument.Watermark",
		`{"Filename":"a/b.docx"}`:                          "InvalidArgument.Filename",
		`{"Filename":"a.exe"}`:                             "InvalidArgument.Filename",
		`{"UserData":"` + strings.Repeat("x", 2049) + `"}`: "InvalidArgument.UserData",
		`{"CredentialConfig":{"Policy":"` + strings.Repeat("x", 4096) +
			`"}}`: "InvalidArgument.CredentialConfig",
		`{"Password":"` + strings.Repeat("x", 1025) +
			`"}`: "InvalidArgument.Password",
		`{"Watermark":{"Value":"` + strings.Repeat("x", 1000) + `","Font":"` +
			strings.Repeat("x", 25) + `"}}`: "InvalidArgument.Watermark",
		`{"Watermark":{"Value":"a\u0000"}}`:    "InvalidArgument.Watermark",
		`{"Watermark":{"Font":"bold\n"}}`:      "InvalidArgument.Watermark",
		`{"Watermark":{"FillStyle":"\u0085"}}`: "InvalidArgument.Watermark",
		`{"User":{"Id":"a\u0001"}}`:            "InvalidArgument.User",
		`{"User":{"Id":"` + strings.Repeat("x", 65) +
			`"}}`: "InvalidArgument.User",
		`{"User":{"Avatar":"https://a.example/\u007f"}}`: "InvalidArgument.User",
		`{"User":{"Avatar":"` + strings.Repeat("x", 1025) +
			`"}}`: "InvalidArgument.User",
		`{"User":{"Name":"` + strings.Repeat("x", 129) +
			`"}}`: "InvalidArgument.User",
	} {
		r, err := ParseRequest([]byte(body))
		if err == nil {
			err = r.Validate()
		}
		var public *Error
		if !errors.As(err, &public) || public.Kind != Invalid || public.Code != code {
			t.Errorf("%.60s: got %v, want %s", body, err, code)
		}
	}
	if _, err := ParseRequest([]byte(`{"UserData":"` + strings.Repeat("x", 2048) +
		`","Permission":null}`)); err != nil {
		t.Errorf("the largest UserData, and null for nothing: %v", err)
	}
	// a Name is cleaned later
	r := Request{User: &User{Id: strings.Repeat("x", 64), Name: "Ann\n",
		Avatar: strings.Repeat("x", 1024)},
		Watermark: &Watermark{Value: strings.Repeat("水", 333), Font: "bold 20px Serif"[:15],
			FillStyle: "rgba(1)"}}
	if err := r.Validate(); err != nil {
		t.Errorf("the largest texts of Watermark and User: %v", err)
	}
}

func TestSourceURIThatIMMMightReadOtherwiseIsRefused(t *testing.T) {
	for _, key := range []string{
		"", "/a.docx", "a//b.docx", "a/", "./a.docx", "a/../b.docx", "..", "a/.", `a\b.docx`,
		"a.docx?x", "a#b.docx", "a%2Fb.docx", "a%2e%2e/b.docx",
		"a\x00.docx", "a\n.docx", "a\x7f.docx", "a\xff.docx", strings.Repeat("k", 1024),
	} {
		if doc, err := ParseSourceURI("oss://test-bucket/" + key); err == nil {
			t.Errorf("%q accepted as %v", key, doc)
		}
	}
	for _, uri := range []string{"OSS://test-bucket/a.docx", "oss://Test-bucket/a.docx",
		"oss://test_bucket/a.docx", "oss:///a.docx", "oss://ab/a.docx",
		"oss://u@test-bucket/a.docx", "oss://test-bucket:80/a.docx", "https://test-bucket/a.docx",
		"oss://test-bucket", "oss:/test-bucket/a.docx", " oss://test-bucket/a.docx"} {
		if doc, err := ParseSourceURI(uri); err == nil {
			t.Errorf("%q accepted as %v", uri, doc)
		}
	}
	for _, key := range []string{"a.docx", "100%.docx", "a b/c+d&e.docx", "报告/年度.docx",
		"e\u0301.docx", "...", strings.Repeat("k", 1023)} {
		doc, err := ParseSourceURI("oss://test-bucket/" + key)
		if err != nil || doc.Key != key || doc.String() != "oss://test-bucket/"+key {
			t.Errorf("%q: %v, %v", key, doc, err)
		}
	}
}

func TestSettleGivesWhatIMMCanServe(t *testing.T) {
	all := Permission{Rename: true, History: true, Copy: true, Export: true, Print: true}
	readonly := Permission{Readonly: true, Rename: true, Copy: true, Export: true, Print: true}
	for _, c := range []struct {
		key     string
		in      Request
		want    Permission
		name    string
		hidecmb bool
	}{
		{key: "a.docx", want: all},
		{key: "a.DOCX", want: all, name: "a.docx"},
		{key: "dir/Plan.Xlsx", want: all, name: "Plan.xlsx"},
		{key: "a.docx", in: Request{Filename: "b.PPTX"}, want: all, name: "b.pptx"},
		{key: "a.txt", want: readonly},
		{key: "a.csv", want: readonly},
		{key: "a.rtf", want: readonly},
		{key: "a.pdf", want: Permission{Readonly: true, Rename: true, Copy: true, Print: true}},
		{key: "a.pdf", in: Request{Filename: "a.docx"},
			want: Permission{Readonly: true, Rename: true, Copy: true, Print: true},
			name: "a.docx"},
		{key: "a.docx", in: Request{Filename: "a.pdf"},
			want: Permission{Readonly: true, Rename: true, Copy: true, Print: true}, name: "a.pdf"},
		{key: "3f2a", in: Request{Filename: "a.docx"}, want: all, name: "a.docx"},
		{key: "a.docx", in: Request{PreviewPages: ptr(int64(3))}, want: readonly},
		{key: "a.docx", in: Request{CachePreview: ptr(true)},
			want: Permission{Readonly: true, Rename: true, Copy: true}},
		{key: "a.docx", in: Request{CachePreview: ptr(false)}, want: all},
		{key: "a.docx", in: Request{Permission: &Permission{Export: true, History: true,
			Readonly: true}}, want: Permission{Readonly: true}},
		{key: "a.docx", in: Request{Hidecmb: ptr(true)}, want: all},
		{key: "a.docx", in: Request{Hidecmb: ptr(true), Permission: &Permission{Readonly: true}},
			want: Permission{Readonly: true}, hidecmb: true},
	} {
		if c.in.Permission == nil {
			c.in.Permission = &all
		}
		before := *c.in.Permission
		got, err := c.in.Settle(Document{"test-bucket", c.key})
		if err != nil || *got.Permission != c.want || got.Filename != c.name ||
			(got.Hidecmb != nil) != c.hidecmb {
			t.Errorf("%s %+v: got %+v %q, %v, want %+v", c.key, c.in, *got.Permission, got.Filename,
				err, c.want)
		}
		if *c.in.Permission != before {
			t.Errorf("%s: the permission that came in was changed", c.key)
		}
		if got.Permission.And(*c.in.Permission) != *got.Permission {
			t.Errorf("%s: the permission grew", c.key)
		}
	}
	for _, key := range []string{"a.exe", "a", "a.docx.zip", ".docx/a"} {
		if _, err := (Request{Permission: &all}).Settle(Document{"test-bucket", key}); err == nil {
			t.Errorf("%s has a format", key)
		}
	}
}

func TestGrantsAndPermissionsAreTheSame(t *testing.T) {
	for i := range 1 << 6 {
		p := Permission{i&1 > 0, i&2 > 0, i&4 > 0, i&8 > 0, i&16 > 0, i&32 > 0}
		back, err := PermissionOf(p.Grants())
		if err != nil || back != p {
			t.Errorf("%+v -> %v -> %+v, %v", p, p.Grants(), back, err)
		}
	}
	if _, err := PermissionOf([]string{"view", "Edit"}); err == nil {
		t.Error("an unknown grant is accepted")
	}
	if len(Extensions()) != 29 || !slices.Contains(Extensions(), "dps") {
		t.Errorf("formats: %v", Extensions())
	}
}

func TestUserIDIsStableAndTellsIssuersApart(t *testing.T) {
	// As an operator computes it, with the command in UserID's comment.
	if got := UserID("salt", "https://login.example.com", "ann"); got != "OCIMFJV75N56DYJ" {
		t.Errorf("got %s", got)
	}
	seen := map[string]bool{}
	for _, id := range []string{UserID("", "i", "s"), UserID("", "is", ""), UserID("", "", "is"),
		UserID("x", "i", "s"), UserID("", "j", "s")} {
		if len(id) != 15 || seen[id] {
			t.Errorf("%s is not 15 characters of its own", id)
		}
		seen[id] = true
	}
	if a, b := NewGuest(), NewGuest(); a.Id == b.Id || len(a.Id) != 15 {
		t.Errorf("guests %v %v", a, b)
	}
}

func TestBucketsHave3To63Characters(t *testing.T) {
	for length, fits := range map[int]bool{1: false, 2: false, 3: true, 63: true, 64: false} {
		if _, err := ParseSourceURI("oss://" + strings.Repeat("b", length) + "/a.docx"); (err == nil) != fits {
			t.Errorf("%d: %v", length, err)
		}
	}
}

func TestUnknownNamesAreShownUpTo40Bytes(t *testing.T) {
	for length, shown := range map[int]bool{1: true, 40: true, 41: false} {
		name := strings.Repeat("n", length)
		_, err := ParseRequest([]byte(`{"` + name + `":1}`))
		if public := AsError(err); strings.Contains(public.Code+public.Message,
			name+" is not") != shown {
			t.Errorf("%d: %v", length, err)
		}
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string][2]string{
		"Ann":                   {"Ann", "Ann"},
		" Ann Lee ":             {"Ann Lee", "Ann_Lee"},
		"安娜":                    {"安娜", "User"},
		"":                      {"User", "User"},
		"\x00\u202e\n":          {"User", "User"},
		"A\u202eb\x07":          {"Ab", "Ab"},
		strings.Repeat("é", 40): {strings.Repeat("é", 32), "User"},
		"o'Neil <x>":            {"o'Neil <x>", "oNeil_x"},
	} {
		if got := [2]string{CleanName(in), PlainName(in)}; got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	const text = "hunter2-hunter2"
	s := Secret(text)
	holder := struct{ Password Secret }{s}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "holder", holder, "pointer", &holder)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "holder", holder)
	j, _ := json.Marshal(holder)
	for _, printed := range []string{
		fmt.Sprintf("%v %s %q %x %X %d %#v %+v %o", s, s, s, s, s, s, s, s, s),
		fmt.Sprintf("%v %+v %#v", holder, holder, &holder), string(j), log.String(),
		fmt.Sprint(Request{Password: s}), fmt.Errorf("%w: %s", errors.New("x"), s).Error(),
	} {
		if strings.Contains(printed, "hunter2") || strings.Contains(printed, "68756e746572") {
			t.Errorf("printed: %s", printed)
		}
	}
	if s.Reveal() != text || fmt.Sprint(Secret("")) != "" {
		t.Error("Reveal or the empty secret is wrong")
	}
}

func TestRefreshRequestNeedsBothTokens(t *testing.T) {
	r, err := ParseRefresh([]byte(`{"AccessToken":"a","RefreshToken":"r"}`))
	if err != nil || r.AccessToken != "a" || r.RefreshToken != "r" {
		t.Errorf("%v, %v", r, err)
	}
	for _, body := range []string{`{}`, `{"AccessToken":"a"}`,
		`{"AccessToken":"a","RefreshToken":""}`,
		`{"AccessToken":"a","RefreshToken":"r","ProjectName":"p"}`,
		`{"AccessToken":["a"],"RefreshToken":"r"}`} {
		if _, err := ParseRefresh([]byte(body)); err == nil {
			t.Errorf("%s accepted", body)
		}
	}
}

// FuzzParseRequest: reading never panics, and what was read reads back from its own JSON as the
// same request.
func FuzzParseRequest(f *testing.F) {
	for _, s := range scenarios {
		f.Add([]byte(s.body))
	}
	f.Add([]byte(`{"Permission":"{'Readonly':'tr\\'ue'}","Watermark":"{\"Value\":\"it's\"}"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRequest(body)
		if err != nil {
			if AsError(err).Kind != Invalid {
				t.Fatalf("%v is not a 400", err)
			}
			return
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseRequest(text)
		again.Password = r.Password // which no JSON holds
		if err != nil || !sameRequest(t, again, r) {
			t.Fatalf("%s read back as %+v, %v", text, again, err)
		}
	})
}

// sameRequest says whether two requests hold the same parameters and values, an empty structure and
// one of empty lists alike.
func sameRequest(t *testing.T, a, b Request) bool {
	t.Helper()
	one, errOne := json.Marshal(a)
	other, errOther := json.Marshal(b)
	if err := errors.Join(errOne, errOther); err != nil {
		t.Fatal(err)
	}
	return string(one) == string(other) && a.Password == b.Password
}

// FuzzParseQuery: reading a query never panics, whatever its order gives the same outcome, and what
// is read from names and texts is what a body of the same names and texts says.
func FuzzParseQuery(f *testing.F) {
	for _, query := range []string{
		"SourceURI=oss%3A%2F%2Ftest-bucket%2Fa.docx&Permission%5BReadonly%5D=true&Permission[Copy]=true&PreviewPages=2",
		"SourceURI=oss://test-bucket/a.docx&Permission={'Readonly':'true'}&Watermark=%7B%22Value%22:%22it's%22%7D",
		"Permission={}&Permission[Copy]=true", "Permission[Copy]=true&Permission[Copy]=false",
		"SourceURI=a&SourceURI=b", "sourceuri=a", "[]=x", "a[b]c]=x",
		"Permission[]=x", "Permission[Copy=x", "Permission]=x", "=", "&&",
		"CredentialConfig[Chain]=[{}]", "User[Name]=%ff&User[Id]=%00", "a[b][c]=x", "%ff=x&%fe=y",
		"Password=x", "Hidecmb=", "Hidecmb=null",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		r, err := ParseQuery(query)
		again, errAgain := ParseQuery(query)
		if (err == nil) != (errAgain == nil) || !sameRequest(t, again, r) {
			t.Fatalf("%+v, %v, and the second time %+v, %v", r, err, again, errAgain)
		}
		if err != nil {
			if AsError(err).Kind != Invalid {
				t.Fatalf("%v is not a 400", err)
			}
			return
		}
		members := map[string]string{}
		for name, values := range query {
			if len(values) != 1 || !plainName.MatchString(name) {
				return // not one text for each name, or a part of a structure
			}
			members[name] = values[0]
		}
		body, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := ParseRequest(body); err != nil || !sameRequest(t, same, r) {
			t.Fatalf("%s is read as %+v, %v, and as a query as %+v", body, same, err, r)
		}
	})
}

// FuzzParseRefresh: what is read as a refresh has both tokens as they were sent, and what is not is
// a 400 that shows neither.
func FuzzParseRefresh(f *testing.F) {
	for _, body := range []string{
		`{"AccessToken":"3de242","RefreshToken":"AXoK"}`,
		`{"AccessToken":"a","AccessToken":"b","RefreshToken":"c"}`, `{"AccessToken":"a"}`,
		`{"RefreshToken":7}`,
		`{"AccessToken":"\u0061","RefreshToken":"\ud800"}`,
		`{"accesstoken":"a","RefreshToken":"r"}`, `{"AccessToken":null,"RefreshToken":"r"}`, `[]`,
		`{`, "",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRefresh(body)
		if err != nil {
			if public := AsError(err); public.Kind != Invalid || r != (RefreshRequest{}) {
				t.Fatalf("%q: %v with %v", body, err, r)
			}
			return
		}
		var sent struct{ AccessToken, RefreshToken string }
		if json.Unmarshal(body, &sent) != nil || sent.AccessToken != r.AccessToken.Reveal() ||
			sent.RefreshToken != r.RefreshToken.Reveal() {
			t.Fatalf("%q is read as %q and %q", body, r.AccessToken.Reveal(),
				r.RefreshToken.Reveal())
		}
	})
}

func FuzzParseSourceURI(f *testing.F) {
	f.Add("oss://test-bucket/a/b.docx")
	f.Add("oss://test-bucket/%2e%2e/..")
	f.Fuzz(func(t *testing.T, uri string) {
		if doc, err := ParseSourceURI(uri); err == nil && doc.String() != uri {
			t.Fatalf("%q became %q", uri, doc)
		}
	})
}
