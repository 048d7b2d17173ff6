package office

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FuzzAuthorization: what is taken reads back the same, so that no two headers mean one proof.
func FuzzAuthorization(f *testing.F) {
	const signature = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, seed := range []string{"STS.local,SignedHeaders=host;x-acs-date,Signature=" + signature,
		"a,SignedHeaders=x-acs-date;host,Signature=" + signature,
		"a,SignedHeaders=host;;host,Signature=" + strings.ToUpper(signature),
		"a,b,SignedHeaders=host,Signature=" + signature + "\n", ""} {
		f.Add("ACS3-HMAC-SHA256 Credential=" + seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		proof, ok := parseAuthorization(header)
		if !ok {
			return
		}
		back := algorithm + " Credential=" + proof.accessKeyID + ",SignedHeaders=" +
			strings.Join(proof.signed, ";") + ",Signature=" + hex.EncodeToString(proof.signature)
		if back != header || len(proof.signature) != 32 {
			t.Errorf("%q reads back as %q", header, back)
		}
		if once := slices.Compact(slices.Sorted(slices.Values(proof.signed))); !slices.Equal(once,
			proof.signed) {
			t.Errorf("signed headers %q are not sorted, or doubled", proof.signed)
		}
	})
}

// FuzzQueryParameters: what is taken survives encoding as the signature has it.
func FuzzQueryParameters(f *testing.F) {
	f.Add("ProjectName=test-project&SourceURI=oss%3A%2F%2Fb%2Fo.docx&User=%7B%7D")
	f.Add("a=1&a=2")
	f.Add("a=%zz;b=+&%20=~*")
	f.Fuzz(func(t *testing.T, query string) {
		parameters, failure := queryParameters(query)
		if failure != nil {
			return
		}
		var pairs []string
		for name, value := range parameters {
			pairs = append(pairs, percentEncode(name)+"="+percentEncode(value))
		}
		again, failure := queryParameters(strings.Join(pairs, "&"))
		if failure != nil || !maps.Equal(again, parameters) {
			t.Errorf("%q reads %q, and again %q", query, parameters, again)
		}
	})
}

// FuzzStructure: what is taken has known fields only, and reads the same when it is written again.
func FuzzStructure(f *testing.F) {
	for _, seed := range []string{`{"Readonly":true}`, `{"Type":1,"Value":"imm","Rotate":-0.7}`,
		`{"Chain":[{"Role":"r"}]}`, `{"MNS":{"TopicName":"t"}}`, `{'Readonly':'true'}`,
		`{"Readonly":true}{`, `null`, `{"Horizontal":1e400}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for name, shape := range actions[Generate] {
			known, ok := shape.(fields)
			if !ok {
				continue
			}
			value, ok := parseStructure(raw, known)
			if !ok {
				continue
			}
			for field := range value {
				if known[field] == nil {
					t.Errorf("%s has no field %q", name, field)
				}
			}
			text, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if again, ok := parseStructure(string(text), known); !ok ||
				!reflect.DeepEqual(again, value) {
				t.Errorf("%s %q reads %v, then %v", name, raw, value, again)
			}
		}
	})
}

// FuzzGenerate: whatever the parameters, an answer holds a session that the rules allow.
func FuzzGenerate(f *testing.F) {
	f.Add("oss://test-bucket/test-object.docx", "a.docx", "5", `{"Readonly":true}`,
		`{"Id":"a","Name":"Ann"}`)
	f.Add("oss://test-bucket/test-object.pdf", "", "-1", `{"Export":true}`, `{}`)
	f.Add("oss://test-bucket/test-object.DOCX", "a.b.docx", "",
		`{"History":true,"Print":true,"Export":true}`, `{"Name":"王"}`)
	f.Fuzz(func(t *testing.T, uri, name, pages, permission, user string) {
		request := &Request{Action: Generate,
			Parameters: map[string]string{"ProjectName": "test-project", "SourceURI": uri,
				"Filename": name, "PreviewPages": pages, "Permission": permission, "User": user}}
		maps.DeleteFunc(request.Parameters, func(_, value string) bool { return value == "" })
		s := New(Options{})
		answer, failure := s.generateTokens(request, "http://office")
		if failure != nil {
			return
		}
		given := s.access.tokens[answer.AccessToken].grant
		if _, err := url.Parse(answer.WebofficeURL); err != nil || s.documents[given.uri] == nil ||
			given.History && given.preview() || given.Export && !given.Print ||
			given.UserID == "" || given.UserName == "" {
			t.Errorf("%v gave %+v at %s", request.Parameters, given.settings, answer.WebofficeURL)
		}
	})
}
