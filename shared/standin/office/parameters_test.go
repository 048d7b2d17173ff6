package office_test

import (
	"os"
	"strings"
	"testing"

	"weboffice-functions/shared/standin/office"
)

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
