package weboffice

import (
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
	all := Permission{Rename: true, History: true, Copy: true, Export: true, Print: true}
	readonly := Permission{Readonly: true, Rename: true, Copy: true, Export: true, Print: true}
	pdf := Permission{Readonly: true, Rename: true, Copy: true, Print: true}
	for _, c := range []struct {
		key     string
		in      Request
		want    Permission
		name    string
		hidecmb bool
		vouched bool // the policy sets or accepts Filename
	}{
		{key: "a.docx", want: all},
		{key: "a.DOCX", want: all, name: "a.docx"},
		{key: "dir/Plan.Xlsx", want: all, name: "Plan.xlsx"},
		{key: "a.docx", in: Request{Filename: "b.PPTX"}, want: all, name: "b.pptx"},
		{key: "a.txt", want: readonly},
		{key: "a.csv", want: readonly},
		{key: "a.rtf", want: readonly},
		{key: "a.pdf", want: pdf},
		{key: "a.pdf", in: Request{Filename: "a.docx"}, want: pdf, name: "a.docx"},
		{key: "a.docx", in: Request{Filename: "a.pdf"}, want: pdf, name: "a.pdf"},
		{key: "3f2a", in: Request{Filename: "a.docx"}, want: all, name: "a.docx", vouched: true},
		{key: "a.docx", in: Request{PreviewPages: new(int64(3))}, want: readonly},
		{key: "a.docx", in: Request{CachePreview: new(true)},
			want: Permission{Readonly: true, Rename: true, Copy: true}},
		{key: "a.docx", in: Request{CachePreview: new(false)}, want: all},
		{key: "a.docx", in: Request{Permission: &Permission{Export: true, History: true,
			Readonly: true}}, want: Permission{Readonly: true}},
		{key: "a.docx", in: Request{Hidecmb: new(true)}, want: all},
		{key: "a.docx", in: Request{Hidecmb: new(true), Permission: &Permission{Readonly: true}},
			want: Permission{Readonly: true}, hidecmb: true},
	} {
		if c.in.Permission == nil {
			c.in.Permission = &all
		}
		before := *c.in.Permission
		got, err := c.in.Settle(Document{"test-bucket", c.key}, c.vouched)
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
	// A Filename decides nothing that the policy's pattern has not seen.
	for _, key := range []string{".env", "keys.pem", "a"} {
		asked := Request{Permission: &all, Filename: "a.txt"}
		if _, err := asked.Settle(Document{"test-bucket", key}, false); err == nil {
			t.Errorf("%s opens by a caller's Filename", key)
		}
		if _, err := asked.Settle(Document{"test-bucket", key}, true); err != nil {
			t.Errorf("%s by the policy's Filename: %v", key, err)
		}
	}
	for _, key := range []string{"a.exe", "a", "a.docx.zip", ".docx/a"} {
		asked := Request{Permission: &all}
		if _, err := asked.Settle(Document{"test-bucket", key}, false); err == nil {
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
