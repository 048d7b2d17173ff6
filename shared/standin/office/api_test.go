package office_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	imm "github.com/alibabacloud-go/imm-20200930/v4/client"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/standin/office"
)

func TestOfficialSDKGeneratesAndRefreshes(t *testing.T) {
	w := start(t)
	client := w.client(t)
	first, err := client.GenerateWebofficeToken(plainRequest())
	if err != nil {
		t.Fatal(err)
	}
	access, refresh := first.Body.AccessToken, first.Body.RefreshToken
	second, err := client.RefreshWebofficeToken(&imm.RefreshWebofficeTokenRequest{
		ProjectName: tea.String("test-project"), AccessToken: access, RefreshToken: refresh})
	if err != nil {
		t.Fatal(err)
	}
	frame, err := url.Parse(tea.StringValue(first.Body.WebofficeURL))
	if err != nil || frame.Host != w.host() || len(frame.Path) != len("/office/w/")+40 ||
		frame.RawQuery != "_w_tokentype=1" {
		t.Errorf("WebofficeURL %v is not of the vendor's form", frame)
	}
	for what, got := range map[string]string{
		"Sat, 21 Nov 2026 12:00:00 GMT":  *first.Headers["date"],
		"2026-11-21T12:30:00.123456789Z": *first.Body.AccessTokenExpiredTime,
		"2026-11-22T12:00:00.123456789Z": *second.Body.RefreshTokenExpiredTime,
	} {
		if got != what {
			t.Errorf("got %s, want %s by the stand-in's clock", got, what)
		}
	}
	text, _ := json.Marshal(second.Body)
	if n := strings.Count(string(text), `":"`); n != 5 || bytes.Contains(text, []byte(*access)) {
		t.Errorf("Refresh answers %s: five fields, all new, without WebofficeURL", text)
	}
	if got, want := w.Calls(), (office.Calls{Generate: 1, Refresh: 1}); got != want {
		t.Errorf("Calls() = %+v, want %+v", got, want)
	}
	if sent := w.Requests(); len(sent) != 2 || sent[0].Action != office.Generate ||
		sent[0].Parameters["User"] != `{"Id":"ann1","Name":"Ann Åkesson"}` ||
		sent[1].Parameters["RefreshToken"] != *refresh || sent[0].Code != "" {
		t.Errorf("Requests() = %+v", sent)
	}
	if log := w.log.String(); strings.Contains(log, *access) ||
		!strings.Contains(log, office.Refresh) {
		t.Errorf("the log names a token, or no action: %s", log)
	}
}

func TestKeepsTheLastThousandRequests(t *testing.T) {
	w := start(t)
	for i := range 1002 {
		query := changed("UserData=" + string(rune('a'+i%26)))
		recorder := httptest.NewRecorder()
		w.ServeHTTP(recorder, w.request(t, raw{query: query}))
		if recorder.Code != http.StatusOK {
			t.Fatal(recorder.Body)
		}
	}
	if sent := w.Requests(); len(sent) != 1000 || sent[0].Parameters["UserData"] != "c" ||
		w.Calls().Generate != 1002 {
		t.Errorf("%d requests kept of %d, the first is %s", len(sent), w.Calls().Generate,
			sent[0].Parameters["UserData"])
	}
}

func TestErrorBodyIsTheVendors(t *testing.T) {
	w := start(t)
	status, body := w.sendChanged(t, "SourceURI=oss://test-bucket/absent.docx")
	if status != 404 || body["Code"] != "ResourceNotFound" || body["HostId"] != w.host() ||
		len(body["RequestId"]) != 36 ||
		body["Message"] != "The specified resource oss://test-bucket/absent.docx is not found" ||
		!strings.Contains(body["Recommend"], body["RequestId"]) || len(body) != 5 {
		t.Errorf("%d %v", status, body)
	}
}

// TestSDKErrorTypes: the SDK reads the stand-in's errors as it does the vendor's.
func TestSDKErrorTypes(t *testing.T) {
	w := start(t)
	failing := func(f office.Fault) error {
		w.Fail(office.Generate, 1, f)
		_, err := w.client(t).GenerateWebofficeToken(plainRequest())
		return err
	}
	var refused *openapi.ClientError
	if err := failing(office.NoPermission()); !errors.As(err, &refused) ||
		*refused.StatusCode != 403 || len(*refused.RequestId) != 36 {
		t.Errorf("%T %v, want a ClientError with a RequestId", err, err)
	}
	var throttled *openapi.ThrottlingError
	if err := failing(office.Throttled(1500 * time.Millisecond)); !errors.As(err, &throttled) ||
		tea.Int64Value(throttled.RetryAfter) != 1500 {
		t.Errorf("%T %v, want a ThrottlingError to retry after 1500 ms", err, err)
	}
	var failed *openapi.ServerError
	if err := failing(office.InternalError()); !errors.As(err, &failed) ||
		*failed.Code != "InternalError" {
		t.Errorf("%T %v, want a ServerError", err, err)
	}
}

// rows are the lines of a file of test cases, with what stands between their bars.
func rows(t *testing.T, file string) (all [][]string) {
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		if !strings.HasPrefix(line, "#") {
			all = append(all, parts)
		}
	}
	return all
}

func TestParameterRules(t *testing.T) {
	long := strings.NewReplacer("{edit}", `{"Readonly":false}`, "{bucket}", "oss://test-bucket",
		"{export}", `{"Readonly":true,"Export":true,"Print":true}`, "{ff}", "\xff",
		"{permission}", "InvalidArgument.Permission", "{json}", "InvalidJSON parsing error,",
		"{1019*a}", strings.Repeat("a", 1019), "{1018*a}", strings.Repeat("a", 1018),
		"{1024*ü}", strings.Repeat("ü", 1024), "{32*王}", strings.Repeat("王", 32),
		"{33*王}", strings.Repeat("王", 33))
	for _, row := range rows(t, "rules.txt") {
		name, code := row[0], long.Replace(row[2])
		t.Run(name, func(t *testing.T) {
			w := start(t)
			w.SetSwitches(office.Switches{UserNameStrict: strings.HasPrefix(name, "strict: ")})
			status, body := w.sendChanged(t, long.Replace(row[1]))
			if body["Code"] != code || (code == "") != (status == 200) {
				t.Errorf("%d %v, want %q", status, body, code)
			}
			if c := w.Calls(); c.Generate+c.Failed != 1 || (c.Generate == 1) != (code == "") ||
				c.Billed() != 1 {
				t.Errorf("counted as %+v", c)
			}
		})
	}
}

func TestEverySupportedFormatOpens(t *testing.T) {
	w := start(t)
	const formats = "doc docx txt dot wps wpt dotx docm dotm rtf ppt pptx pptm ppsx ppsm pps " +
		"potx potm dpt dps et xls xlt xlsx xlsm xltx xltm csv pdf"
	for format := range strings.FieldsSeq(formats) {
		if status, body := w.sendChanged(t,
			"SourceURI=oss://test-bucket/test-object."+format); status != 200 {
			t.Errorf("%s: %d %v", format, status, body)
		}
	}
}
