package weboffice

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestSourceURIThatIMMMightReadOtherwiseIsRefused(t *testing.T) {
	for _, key := range []string{
		"", "/a.docx", "a//b.docx", "a/", "./a.docx", "a/../b.docx", "..", "a/.",
		"a%2e%2e/b.docx", "a\n.docx", "a\x7f.docx", "a\xff.docx", strings.Repeat("k", 1024),
	} {
		if doc, err := ParseSourceURI("oss://test-bucket/" + key); err == nil {
			t.Errorf("%q accepted as %v", key, doc)
		}
	}
	for key, named := range map[string]string{
		`a\b.docx`: ` \.`, "a.docx?x": " ?.", "a#b.docx": " #.", "a%2Fb.docx": " %2F.",
		"a\x00.docx": "U+0000", "a\u0085.docx": "U+0085", "a\u200b.docx": "U+200B",
		"a\u2060.docx": "U+2060", "a\ufeff.docx": "U+FEFF", "a\u202egpj.docx": "U+202E",
		"a\u061c.docx": "U+061C", "a\u2069.docx": "U+2069", " a.docx": "(U+0020)",
		"a/b.docx\u00a0": "(U+00A0)", "a\u3000/b.docx": "(U+3000)", "a/\u2003b.docx": "(U+2003)",
	} {
		_, err := ParseSourceURI("oss://test-bucket/" + key)
		if public := AsError(err); public.Code != "InvalidArgument.SourceURI" ||
			!strings.Contains(public.Message, named) {
			t.Errorf("%q: %v, want %s named", key, err, named)
		}
	}
	for _, uri := range []string{"OSS://test-bucket/a.docx", "oss://Test-bucket/a.docx",
		"oss://test_bucket/a.docx", "oss:///a.docx", "oss://ab/a.docx",
		"oss://u@test-bucket/a.docx", "oss://test-bucket:80/a.docx", "https://test-bucket/a.docx",
		"oss://test-bucket", "oss:/test-bucket/a.docx", " oss://test-bucket/a.docx",
		"oss://" + strings.Repeat("b", 64) + "/a.docx"} {
		if doc, err := ParseSourceURI(uri); err == nil {
			t.Errorf("%q accepted as %v", uri, doc)
		}
	}
	for _, key := range []string{"a.docx", "100%.docx", "a b/c+d&e.docx", "报告/年度.docx",
		"e\u0301.docx", "...", "a b/c d.docx", "نامه\u200cها.docx", "👩\u200d💻.docx",
		"a\u3000b.docx", "a.docx.", strings.Repeat("k", 1023)} {
		doc, err := ParseSourceURI("oss://test-bucket/" + key)
		if err != nil || doc.Key != key || doc.String() != "oss://test-bucket/"+key {
			t.Errorf("%q: %v, %v", key, doc, err)
		}
	}
	for _, bucket := range []string{"abc", strings.Repeat("b", 63)} {
		if _, err := ParseSourceURI("oss://" + bucket + "/a.docx"); err != nil {
			t.Errorf("%s: %v", bucket, err)
		}
	}
}

func TestSettleGivesWhatIMMCanServe(t *testing.T) {
	for line := range strings.Lines(testdata(t, "settle.txt")) {
		row := strings.Split(line, "|")
		if len(row) != 3 {
			continue
		}
		var grants, parameters []string
		for _, word := range strings.Fields(strings.Replace(row[1], "all",
			strings.Join(Grants(), " "), 1)) {
			if strings.Contains(word, "=") {
				parameters = append(parameters, word)
			} else if word != "vouched" {
				grants = append(grants, word)
			}
		}
		asked, err := parseQuery(strings.Join(parameters, "&"))
		permission, errGrant := PermissionOf(grants)
		if err := errors.Join(err, errGrant); err != nil {
			t.Fatal(err)
		}
		before := permission
		asked.Permission = &permission
		doc := Document{"test-bucket", strings.TrimSpace(row[0])}
		settled, err := asked.Settle(doc, strings.Contains(row[1], "vouched"))
		var got []string
		if err != nil {
			got = []string{AsError(err).Code}
		} else {
			got = append(settled.Permission.Grants(), strings.Fields(settled.Filename)...)
			if settled.Hidecmb != nil {
				got = append(got, "Hidecmb")
			}
		}
		if !slices.Equal(got, strings.Fields(row[2])) || permission != before {
			t.Errorf("%s: got %v, and the permission that came in is %+v", line, got, permission)
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
		all, none := Permission{false, true, true, true, true, true}, Permission{Readonly: true}
		if p.And(all) != p || all.And(p) != p || p.And(none) != none {
			t.Errorf("%+v and all, and nothing: %+v, %+v", p, p.And(all), p.And(none))
		}
	}
	// A member of Permission that the table of grants does not know would never be given.
	if members := reflect.TypeFor[Permission]().NumField(); members != len(grants) {
		t.Errorf("%d members, %d grants", members, len(grants))
	}
	if _, err := PermissionOf([]string{"view", "Edit"}); err == nil {
		t.Error("an unknown grant is accepted")
	}
	if len(Extensions()) != 29 || !slices.Contains(Extensions(), "dps") {
		t.Errorf("formats: %v", Extensions())
	}
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
