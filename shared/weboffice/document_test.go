package weboffice

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestSourceURIThatIMMMightReadOtherwiseIsRefused(t *testing.T) {
	for line := range strings.Lines(testdata(t, "uris.txt")) {
		quoted, want, row := strings.Cut(strings.TrimSpace(line), " |")
		if !row {
			continue
		}
		uri, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatal(quoted, err)
		}
		named, refused := strings.CutPrefix(want, " refused")
		doc, err := ParseSourceURI(uri)
		if !refused && (err != nil || doc.String() != uri ||
			"oss://"+doc.Bucket+"/"+doc.Key != uri) {
			t.Errorf("%q: %v, %v", uri, doc, err)
		}
		if public := AsError(err); refused && (public.Code != "InvalidArgument.SourceURI" ||
			!strings.Contains(public.Message, strings.TrimPrefix(named, ":"))) {
			t.Errorf("%q: %v, %v, want %s named", uri, doc, err, named)
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
