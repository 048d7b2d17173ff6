package weboffice

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

const testDocument = "oss://test-bucket/test-object.docx"

// scenarios are the parameters of the vendor's pages in the vendor's spellings; want is what they
// mean.
var scenarios = []struct {
	name, body string
	want       Request
}{
	{"quick start", `{"ProjectName":"test-project","SourceURI":"oss://test-bucket/test-object.docx",
		"Filename":"test-object.docx","UserData":"{\"fid\": \"123\"}","PreviewPages":3,
		"Permission":"{\"Rename\": \"true\", \"Readonly\": \"false\"}",
		"User":"{\"Id\": \"test\", \"Name\": \"testuser\", \"Avatar\": \"http://xx.com/a.jpg\"}",
		"Watermark":"{\"Type\": \"1\", \"Value\": \"imm\"}"}`,
		Request{ProjectName: "test-project", SourceURI: testDocument, Filename: "test-object.docx",
			UserData: `{"fid": "123"}`, PreviewPages: ptr(int64(3)),
			Permission: &Permission{Rename: true},
			User:       &User{"test", "testuser", "http://xx.com/a.jpg"},
			Watermark:  &Watermark{Type: ptr(int64(1)), Value: "imm"}}},
	{"an upper-case PDF under a Word name, with a password",
		`{"SourceURI":"oss://test-bucket/test-object.PDF","Filename":"test-object.docx",
		"PreviewPages":"5","Password":"123456","Permission":"{'Readonly':'true'}"}`,
		Request{SourceURI: "oss://test-bucket/test-object.PDF", Filename: "test-object.docx",
			PreviewPages: ptr(int64(5)), Password: "123456",
			Permission: &Permission{Readonly: true}}},
	{"watermark and hidden toolbar",
		`{"SourceURI":"oss://test-bucket/test-object.docx","Hidecmb":"true",
		"Watermark":"{'Type':'1','Value':'水印值','Font':'bold 20px Serif'}",
		"Permission":"{'Readonly':'true'}"}`,
		Request{SourceURI: testDocument, Hidecmb: ptr(true),
			Permission: &Permission{Readonly: true},
			Watermark: &Watermark{Type: ptr(int64(1)), Value: "水印值",
				Font: "bold 20px Serif"}}},
	{"all rights", `{"SourceURI":"oss://test-bucket/test-object.docx","Permission":` +
		`"{'Readonly':'false','History':'true','Copy':'true','Print':'true','Export':'true'}"}`,
		Request{SourceURI: testDocument,
			Permission: &Permission{History: true, Copy: true, Print: true, Export: true}}},
	{"every structure as an object", `{"SourceURI":"oss://b-1/k.pptx","CachePreview":true,
		"ExternalUploaded":"false","Referer":"*","NotifyTopicName":"t",
		"Watermark":{"Type":0,"FillStyle":"rgba(192,192,192,0.6)","Rotate":-0.5,
		"Horizontal":"50","Vertical":100},
		"CredentialConfig":{"ServiceRole":"r","Policy":"{}","Chain":[{"Role":"a",
		"RoleType":"service","AssumeRoleFor":"1"}]},
		"Notification":"{'MNS':{'TopicName':'saves'},'ExtendedMessageURI':'u',` +
		`'RocketMQ':{'InstanceId':'i','TopicName':'q'}}"}`,
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
			_, err = ParseSourceURI(got.SourceURI)
			if err := errors.Join(err, got.Validate()); err != nil {
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
		"twice":             {"SourceURI": {testDocument, "oss://test-bucket/b.docx"}},
		"whole and by part": {"Permission": {"{}"}, "Permission[Copy]": {"true"}},
		"unknown member":    {"Permission[Edit]": {"true"}},
		"a list":            {"SourceURI": {testDocument}, "SourceURI[]": {"x"}},
		"part twice":        {"Permission[Copy]": {"true", "false"}},
		"other case":        {"sourceuri": {testDocument}},
		"no Unicode":        {"UserData": {"\xff"}},
	} {
		if got, err := ParseQuery(query); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
	r, err := ParseRefreshQuery(url.Values{"AccessToken": {"a"}, "RefreshToken": {"r"}})
	if err != nil || r != (RefreshRequest{"a", "r"}) {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := ParseRefreshQuery(url.Values{"AccessToken": {"a", "b"}}); err == nil {
		t.Error("one sent twice is accepted")
	}
	_, err = ParseRefreshQuery(url.Values{"a b": {"a", "b"}})
	if AsError(err).Code != "InvalidArgument" {
		t.Error("a name that cannot be shown is:", err)
	}
}

// accepted is what stands against a body that was sent.
func accepted(body string) error {
	r, err := ParseRequest([]byte(body))
	if err != nil {
		return err
	}
	return r.Validate()
}

func TestBadInputNamesTheParameter(t *testing.T) {
	long := func(before string, n int, after string) string {
		return before + strings.Repeat("x", n) + after
	}
	for code, bodies := range map[string][]string{
		"InvalidArgument": {`[]`, `{"SourceURI":"a"} {}`, `{"Sourceuri ":"a"}`},
		"InvalidArgument.SourceURI": {`{"SourceURI":"a","SourceURI":1}`, `{"SourceURI":7}`,
			`{"SourceURI":["a"]}`, `{"SourceURI":null,"SourceURI":"a"}`},
		"InvalidArgument.sourceURI":  {`{"SourceURI":"oss://a-b/a","sourceURI":"oss://a-b/b"}`},
		"InvalidArgument.sourceuri":  {`{"sourceuri":"a"}`},
		"InvalidArgument.source_uri": {`{"source_uri":"a"}`},
		"InvalidArgument.Hidecmb":    {`{"Hidecmb":"yes"}`, `{"Hidecmb":1}`},
		"InvalidPreviewPages": {`{"PreviewPages":0}`, `{"PreviewPages":-1}`, `{"PreviewPages":"0"}`,
			`{"PreviewPages":2.5}`, `{"PreviewPages":"2.5"}`, `{"PreviewPages":5001}`,
			`{"PreviewPages":1e3}`, `{"PreviewPages":99999999999999999999}`,
			`{"PreviewPages":""}`, `{"PreviewPages":"five"}`, `{"PreviewPages":" 5"}`,
			`{"PreviewPages":[5]}`, `{"PreviewPages":{}}`, `{"PreviewPages":true}`},
		"InvalidJSON parsing error, Permission": {`{"Permission":"{'Readonly':'true'"}`,
			`{"Permission":[]}`, `{"Permission":"true"}`},
		"InvalidJSON parsing error, User":      {`{"User":"test"}`},
		"InvalidJSON parsing error, Watermark": {`{"Watermark":"x"}`},
		"InvalidArgument.Permission": {`{"Permission":{"Edit":true}}`,
			`{"Permission":{"Copy":true,"Copy":false}}`},
		"InvalidArgument.Filename": {`{"Filename":"a/b.docx"}`, `{"Filename":"a.exe"}`},
		"InvalidArgument.UserData": {long(`{"UserData":"`, 2049, `"}`)},
		"InvalidArgument.Password": {long(`{"Password":"`, 1025, `"}`)},
		"InvalidArgument.CredentialConfig": {
			long(`{"CredentialConfig":{"Policy":"`, 4096, `"}}`)},
		"InvalidArgument.Watermark": {`{"Watermark":{"Type":2}}`, `{"Watermark":{"Rotate":"NaN"}}`,
			`{"Watermark":{"Value":"a\u0000"}}`, `{"Watermark":{"Font":"bold\n"}}`,
			`{"Watermark":{"FillStyle":"\u0085"}}`,
			long(`{"Watermark":{"Value":"`, 1000, long(`","Font":"`, 25, `"}}`))},
		"InvalidArgument.User": {`{"User":{"Id":"a\u0001"}}`,
			`{"User":{"Avatar":"https://a.example/\u007f"}}`, long(`{"User":{"Id":"`, 65, `"}}`),
			long(`{"User":{"Avatar":"`, 1025, `"}}`), long(`{"User":{"Name":"`, 129, `"}}`)},
	} {
		for _, body := range bodies {
			err := accepted(body)
			var public *Error
			if !errors.As(err, &public) || public.Kind != Invalid || public.Code != code {
				t.Errorf("%.60s: got %v, want %s", body, err, code)
			}
		}
	}
	r, err := ParseRequest([]byte(long(`{"UserData":"`, 2048, `","Permission":null}`)))
	if err != nil {
		t.Errorf("the largest UserData, and null for nothing: %v", err)
	}
	// a Name is cleaned later
	r.User = &User{strings.Repeat("x", 64), "Ann\n", strings.Repeat("x", 1024)}
	r.Watermark = &Watermark{Value: strings.Repeat("水", 333), Font: "bold 20px Serif",
		FillStyle: "rgba(1)"}
	if err := r.Validate(); err != nil {
		t.Errorf("the largest texts of Watermark and User: %v", err)
	}
}

func TestUnknownNamesAreShownUpTo40Bytes(t *testing.T) {
	for length, shown := range map[int]bool{1: true, 40: true, 41: false} {
		name := strings.Repeat("n", length)
		_, err := ParseRequest([]byte(`{"` + name + `":1}`))
		if strings.Contains(AsError(err).Message, name+" is not") != shown {
			t.Errorf("%d: %v", length, err)
		}
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
		`{"AccessToken":"a","RefreshToken":"r","accessToken":"b"}`,
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
	f.Add([]byte(`{"Permission":"{'Copy':true},'Readonly':true}"}`))
	f.Add([]byte(`{"CredentialConfig":"{'Chain':'[{},{}]'}","UserData":"\ud83d\ude00"}`))
	f.Add([]byte(`{"Permission":"{'Readonly':'tr\\'ue'}","Watermark":"{\"Value\":\"it's\"}"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRequest(body)
		if err != nil {
			if AsError(err).Kind != Invalid {
				t.Fatalf("%v is not a 400", err)
			}
			return
		}
		if !json.Valid(body) || !utf8.Valid(body) {
			t.Fatalf("%q is accepted", body)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		replaced := "\ufffd"
		if strings.Contains(string(text), replaced) && !strings.Contains(string(body), replaced) &&
			!strings.Contains(strings.ToLower(string(body)), "fffd") {
			t.Fatalf("%q is read as %s", body, text)
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
		"SourceURI=oss%3A%2F%2Fa-b%2Fa.docx&Permission%5BReadonly%5D=true&Permission[Copy]=true",
		"PreviewPages=2&Permission={'Readonly':'true'}&Watermark=%7B%22Value%22:%22it's%22%7D",
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
			if len(values) != 1 || !plainName().MatchString(name) {
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

// What follows the end of a text is no part of it: behind "{'Copy':true}" an editor's
// Readonly:true would be lost.
func TestTextBehindTheEndIsRefused(t *testing.T) {
	const uri = `"SourceURI":"oss://test-bucket/a.docx"`
	tokens := `"AccessToken":"a","RefreshToken":"r"`
	for tail, fits := range map[string]bool{
		"]": false, "}}": false, "},\"x\":1}": false, "}\x01": false, "} {}": false, "}null": false,
		",": false, "}\x00": false, "}\n]": false, "}\u00a0": false, "} \r\n\t": true,
	} {
		if r, err := ParseRequest([]byte("{" + uri + tail)); (err == nil) != fits {
			t.Errorf("%q: %+v, %v", tail, r, err)
		}
		if _, err := ParseRefresh([]byte("{" + tokens + tail)); (err == nil) != fits {
			t.Errorf("refresh, %q: %v", tail, err)
		}
	}
	for text, fits := range map[string]bool{
		`{'Copy':true},'Readonly':true}`: false, `{'Copy':true}}`: false, `{'Copy':true}]`: false,
		`{\"Copy\":true},\"Readonly\":true}`: false, `{'Copy':true,'Readonly':true`: false,
		`{'Copy':true,'Readonly':true}`: true, ` {'Copy':'true'} `: true, `{\"Copy\":true}`: true,
	} {
		r, err := ParseRequest([]byte(`{"Permission":"` + text + `"}`))
		if (err == nil) != fits || fits && !r.Permission.Copy {
			t.Errorf("%s: %+v, %v", text, r.Permission, err)
		}
	}
}

// encoding/json would read these as U+FFFD: two texts that are not the same would become one.
func TestTextThatIsNoUnicodeIsRefused(t *testing.T) {
	for text, fits := range map[string]bool{
		"\xff": false, "a\xc3": false, "\xed\xa0\x80": false, "\xc0\x80": false,
		`\ud800`: false, `\udc00`: false, `\ud800x`: false, `\ud800\u0041`: false,
		`\udc00\ud800`: false, `\ud83d\ude00\ud83d`: false, `\uD83D\\uDE00`: false,
		`\ud83d\ude00`: true, `\\ud800`: true, `\u0041\\\u0041`: true, "\ufffd": true,
		`\ufffd`: true, `\uFfFd`: true, "😀": true, `\"\\`: true,
	} {
		quoted := `"` + text + `"`
		for _, body := range []string{`"UserData":` + quoted, `"User":{"Name":` + quoted + `}`} {
			if _, err := ParseRequest([]byte("{" + body + "}")); (err == nil) != fits {
				t.Errorf("%q: %v", body, err)
			}
		}
		tokens := `{"AccessToken":` + quoted + `,"RefreshToken":"r"}`
		if _, err := ParseRefresh([]byte(tokens)); (err == nil) != fits {
			t.Errorf("%q: %v", tokens, err)
		}
		name := `{"UserData":"",` + quoted + `:null}`
		if _, err := ParseRequest([]byte(name)); AsError(err).Kind != Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
	within := `{"User":"{\"Name\":\"\\ud800\"}"}`
	_, err := ParseRequest([]byte(within))
	if err == nil || AsError(err).Code != "InvalidArgument.User" {
		t.Errorf("inside a structure's text: %v", err)
	}
}

// Whatever is built of a text costs more than its length: its depth and its values are bounded
// before, also in texts inside the text.
func TestDeepAndLongTextsAreRefusedUnbuilt(t *testing.T) {
	chain := func(n int) string {
		return `{"Chain":[` + strings.TrimSuffix(strings.Repeat(`{},`, n), ",") + `]}`
	}
	quoted := func(text string) string {
		j, _ := json.Marshal(text) // text always marshals
		return string(j)
	}
	for name, body := range map[string]string{
		"21,000 links of a chain":      `{"CredentialConfig":` + chain(21_000) + `}`,
		"a chain in a text":            `{"CredentialConfig":` + quoted(chain(60)) + `}`,
		"nesting":                      strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9),
		"nesting without an end":       strings.Repeat("[", 60_000),
		"unknown members":              `{` + strings.Repeat(`"a":1,`, 101) + `"b":1}`,
		"brackets inside quotes alone": `{"UserData":"` + strings.Repeat("[{,", 100) + `"` + `]`,
	} {
		_, err := ParseRequest([]byte(body))
		if public := AsError(err); public.Kind != Invalid {
			t.Errorf("%s: %v", name, err)
		}
		allocated := testing.AllocsPerRun(5, func() { _, _ = ParseRequest([]byte(body)) })
		if allocated > 60 {
			t.Errorf("%s: %v allocations", name, allocated)
		}
	}
	for name, body := range map[string]string{
		"a chain": `{"CredentialConfig":` + chain(20) + `}`,
		"a chain in a text in a text": `{"CredentialConfig":` +
			quoted(`{"Chain":`+quoted(`[{"Role":"a"}]`)+`}`) + `}`,
		"brackets inside quotes": `{"UserData":"` + strings.Repeat(`[{,\"`, 200) + `"}`,
	} {
		if _, err := ParseRequest([]byte(body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nobody who bears no proof makes the function work for longer than an ordinary refused request of
// the same length does: three times as long at most.
func TestUnpaidWorkIsBounded(t *testing.T) {
	for _, length := range []int{60_000, 12_000, 8_000} {
		t.Run(fmt.Sprint(length), func(t *testing.T) { unpaidWorkIsBounded(t, length) })
	}
}

func unpaidWorkIsBounded(t *testing.T, length int) {
	const rest = 15 * time.Microsecond // what any refused request costs besides being read, about
	filled := func(before, piece, after string) string {
		n := (length - len(before) - len(after)) / len(piece)
		return before + strings.TrimSuffix(strings.Repeat(piece, n), ",") + after
	}
	bodies := map[string]string{
		"ordinary":           filled(`{"SourceURI":"oss://a-b/a.docx","UserData":"`, "x", `"}`),
		"a chain of nothing": filled(`{"CredentialConfig":{"Chain":[`, `{},`, `]}}`),
		"a chain in a text":  filled(`{"CredentialConfig":"{'Chain':[`, `{},`, `]}"}`),
		"quotes in a text":   filled(`{"CredentialConfig":"{'Chain':['`, `\"'`, `']}"}`),
		"lists":              filled(`{"CredentialConfig":`, `[`, ``),
		"escapes":            filled(`{"UserData":"`, `\u00e9`, `"}`),
		"surrogates":         filled(`{"UserData":"`, `\ud83d\ude00`, `"}`),
		"backslashes":        filled(`{"UserData":"`, `\\`, `"}`),
		"repeated names":     filled(`{`, `"SourceURI":"",`, `"a":1}`),
		"no Unicode":         filled(`{"UserData":"`, "\xff", `"}`),
		"text in text":       filled(`{"Permission":"`, `\\\"`, `"}`),
	}
	best := map[string]time.Duration{}
	for range 30 { // in turns, so that a busy machine slows all of them down
		for name, body := range bodies {
			start := time.Now()
			err := accepted(body)
			if took := time.Since(start); best[name] == 0 || took < best[name] {
				best[name] = took
			}
			if err == nil {
				t.Fatalf("%s is not refused", name)
			}
		}
	}
	for name, took := range best {
		if took > 3*best["ordinary"]+2*rest {
			t.Errorf("%s: %v, an ordinary one %v", name, took, best["ordinary"])
		}
	}
	t.Log(best)
}

func TestParametersThatAreSent(t *testing.T) {
	no, pages := false, int64(3)
	r := Request{SourceURI: "oss://b-1/a.docx", Hidecmb: &no, Password: "hunter2"}
	if got := strings.Join(r.Sent(), " "); got != "SourceURI Password Hidecmb" {
		t.Error(got)
	}
	over := r.With(Request{PreviewPages: &pages, Password: "other"})
	if got := strings.Join(over.Sent(), " "); got != "SourceURI PreviewPages Password Hidecmb" ||
		over.Password != "other" || r.Password != "hunter2" || r.PreviewPages != nil {
		t.Errorf("%s, %+v", got, r)
	}
	if names := ParameterNames(); len(names) != 16 || names[0] != "ProjectName" {
		t.Error(names)
	}
}
