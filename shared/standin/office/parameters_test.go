package office_test

import (
	"maps"
	"strings"
	"testing"

	"weboffice-functions/shared/standin/office"
)

// TestParameterRules sends one request per rule, made from one that breaks none.
func TestParameterRules(t *testing.T) {
	const edit = `{"Readonly":false}`
	for name, c := range map[string]struct {
		change map[string]string // "-" leaves a parameter out
		code   string            // "" passes
	}{
		"nothing more":    {nil, ""},
		"no project":      {map[string]string{"ProjectName": "-"}, "MissingProjectName"},
		"empty project":   {map[string]string{"ProjectName": ""}, "MissingProjectName"},
		"unknown project": {map[string]string{"ProjectName": "nowhere"}, "ResourceNotFound"},
		"no document":     {map[string]string{"SourceURI": "-"}, "MissingSourceURI"},
		"unknown document": {map[string]string{"SourceURI": "oss://test-bucket/absent.docx"},
			"ResourceNotFound"},
		"unknown bucket": {map[string]string{
			"SourceURI": "oss://absent-bucket/test-object.docx"}, "ResourceNotFound"},
		"another scheme": {map[string]string{
			"SourceURI": "https://test-bucket/test-object.docx"}, "InvalidSourceURI"},
		"no object": {map[string]string{"SourceURI": "oss://test-bucket/"},
			"InvalidSourceURI"},
		"no bucket": {map[string]string{"SourceURI": "oss:///test-object.docx"},
			"InvalidSourceURI"},
		"upper-case bucket": {map[string]string{"SourceURI": "oss://Test-Bucket/test-object.docx"},
			"InvalidSourceURI"},
		"key of 1,024 bytes": {map[string]string{
			"SourceURI": "oss://test-bucket/" + strings.Repeat("a", 1019) + ".docx",
		}, "InvalidSourceURI"},
		"key of 1,023 bytes": {map[string]string{
			"SourceURI": "oss://test-bucket/" + strings.Repeat("a", 1018) + ".docx",
		}, "ResourceNotFound"},
		"unknown parameter":         {map[string]string{"Readonly": "true"}, "InvalidParameter"},
		"parameter in another case": {map[string]string{"hidecmb": "true"}, "InvalidParameter"},
		"parameter of the old style": {map[string]string{"Action": office.Generate},
			"InvalidParameter"},
		"parameter of Refresh":       {map[string]string{"AccessToken": "x"}, "InvalidParameter"},
		"Filename":                   {map[string]string{"Filename": "plan.docx"}, ""},
		"Filename without extension": {map[string]string{"Filename": "plan"}, "InvalidFilename"},
		"Filename of another kind": {map[string]string{"Filename": "plan.png"},
			"InvalidFilename"},
		"Filename in upper case": {map[string]string{"Filename": "plan.DOCX"},
			"InvalidFilename"},
		"Filename with a folder": {map[string]string{"Filename": "a/plan.docx"},
			"InvalidFilename"},
		"Filename empty": {map[string]string{"Filename": ""}, "InvalidFilename"},
		"upper-case object alone": {
			map[string]string{"SourceURI": "oss://test-bucket/test-object.DOCX"},
			"InvalidFilename"},
		"upper-case object, Filename": {
			map[string]string{"SourceURI": "oss://test-bucket/test-object.DOCX",
				"Filename": "a.docx"}, ""},
		"PreviewPages 1":    {map[string]string{"PreviewPages": "1"}, ""},
		"PreviewPages 5000": {map[string]string{"PreviewPages": "5000"}, ""},
		"PreviewPages 0": {map[string]string{"PreviewPages": "0"},
			"InvalidPreviewPages"},
		"PreviewPages 5001": {map[string]string{"PreviewPages": "5001"},
			"InvalidPreviewPages"},
		"PreviewPages with a sign": {map[string]string{"PreviewPages": "+5"},
			"InvalidPreviewPages"},
		"PreviewPages in words": {map[string]string{"PreviewPages": "five"},
			"InvalidPreviewPages"},
		"PreviewPages while editing": {map[string]string{"PreviewPages": "3", "Permission": edit},
			""},
		"boolean": {map[string]string{"ExternalUploaded": "true",
			"Hidecmb": "false"}, ""},
		"boolean in upper case": {map[string]string{"Hidecmb": "True"}, "InvalidHidecmb"},
		"boolean as a number": {map[string]string{"CachePreview": "1"},
			"InvalidCachePreview"},
		"UserData of 2,048 bytes": {map[string]string{"UserData": strings.Repeat("ü", 1024)},
			""},
		"UserData of 2,049 bytes": {map[string]string{"UserData": strings.Repeat("ü", 1024) +
			"x"}, "InvalidUserData"},
		"text not UTF-8": {map[string]string{"UserData": "\xff"}, "InvalidUserData"},
		"Password, Referer, topic": {map[string]string{"Password": "123456", "Referer": "*",
			"NotifyTopicName": "topic"}, ""},
		"Permission, all of editing": {map[string]string{
			"Permission": `{"Readonly":false,"Rename":true,"History":true,"Copy":true,"Export":true,"Print":true}`,
		}, ""},
		"Permission not JSON": {map[string]string{"Permission": `{'Readonly':'true'}`},
			"InvalidJSON parsing error, Permission"},
		"Permission an array": {map[string]string{"Permission": `[]`},
			"InvalidJSON parsing error, Permission"},
		"Permission null": {map[string]string{"Permission": `null`},
			"InvalidJSON parsing error, Permission"},
		"Permission, quoted boolean": {map[string]string{"Permission": `{"Readonly":"true"}`},
			"InvalidJSON parsing error, Permission"},
		"Permission, unknown field": {map[string]string{"Permission": `{"Edit":true}`},
			"InvalidJSON parsing error, Permission"},
		"Permission, other spelling": {map[string]string{"Permission": `{"readonly":true}`},
			"InvalidJSON parsing error, Permission"},
		"Permission, null field": {map[string]string{"Permission": `{"Readonly":null}`},
			"InvalidJSON parsing error, Permission"},
		"Permission, text after it": {map[string]string{"Permission": `{"Readonly":true}}`},
			"InvalidJSON parsing error, Permission"},
		"Permission left out": {map[string]string{"Permission": "-"}, ""},
		"Export without Print": {map[string]string{
			"Permission": `{"Readonly":true,"Export":true}`}, "InvalidArgument.Permission"},
		"Export with Print": {map[string]string{
			"Permission": `{"Readonly":true,"Export":true,"Print":true}`}, ""},
		"History while read-only": {map[string]string{
			"Permission": `{"Readonly":true,"History":true}`}, "InvalidArgument.Permission"},
		"History with PreviewPages": {map[string]string{
			"Permission":   `{"History":true}`,
			"PreviewPages": "3",
		}, "InvalidArgument.Permission"},
		"Hidecmb while read-only": {map[string]string{"Hidecmb": "true"}, ""},
		"Hidecmb while editing": {map[string]string{"Hidecmb": "true", "Permission": edit},
			"InvalidArgument.Hidecmb"},
		"CachePreview while read-only": {map[string]string{"CachePreview": "true"}, ""},
		"CachePreview while editing": {map[string]string{"CachePreview": "true",
			"Permission": edit}, "InvalidArgument.CachePreview"},
		"CachePreview with Print": {map[string]string{
			"CachePreview": "true",
			"Permission":   `{"Readonly":true,"Print":true}`,
		}, "InvalidArgument.Permission"},
		"PDF read-only": {map[string]string{"SourceURI": "oss://test-bucket/test-object.pdf"}, ""},
		"PDF edited": {map[string]string{
			"SourceURI":  "oss://test-bucket/test-object.pdf",
			"Permission": edit,
		}, "InvalidArgument.Permission"},
		"PDF exported": {map[string]string{
			"SourceURI":  "oss://test-bucket/test-object.pdf",
			"Permission": `{"Readonly":true,"Export":true,"Print":true}`,
		}, "InvalidArgument.Permission"},
		"PDF under another name": {map[string]string{
			"SourceURI": "oss://test-bucket/test-object.pdf", "Filename": "a.docx"}, ""},
		"PDF edited as docx": {map[string]string{
			"SourceURI":  "oss://test-bucket/test-object.pdf",
			"Filename":   "a.docx",
			"Permission": edit,
		}, "InvalidArgument.Permission"},
		"docx edited as PDF": {map[string]string{"Filename": "a.pdf", "Permission": edit},
			"InvalidArgument.Permission"},
		"csv edited": {map[string]string{
			"SourceURI":  "oss://test-bucket/test-object.csv",
			"Permission": edit,
		}, "InvalidArgument.Permission"},
		"xlsx edited": {map[string]string{"SourceURI": "oss://test-bucket/test-object.xlsx",
			"Permission": edit}, ""},
		"no User": {map[string]string{"User": "-"}, "InvalidArgument.User"},
		"User not JSON": {map[string]string{"User": `Ann`},
			"InvalidJSON parsing error, User"},
		"User without fields": {map[string]string{"User": `{}`}, ""},
		"User.Id of 15":       {map[string]string{"User": `{"Id":"abcdefghij12345"}`}, ""},
		"User.Id of 16": {map[string]string{"User": `{"Id":"abcdefghij123456"}`},
			"InvalidArgument.User"},
		"User.Id with a sign": {map[string]string{"User": `{"Id":"test_user"}`},
			"InvalidArgument.User"},
		"User.Id a number": {map[string]string{"User": `{"Id":7}`},
			"InvalidJSON parsing error, User"},
		"User.Name of 32": {map[string]string{"User": `{"Id":"a","Name":"` +
			strings.Repeat("王", 32) + `"}`}, ""},
		"User.Name of 33": {map[string]string{
			"User": `{"Id":"a","Name":"` + strings.Repeat("王", 33) + `"}`,
		}, "InvalidArgument.User"},
		"User.Name empty": {map[string]string{"User": `{"Id":"a","Name":""}`},
			"InvalidArgument.User"},
		"User.Avatar": {map[string]string{
			"User": `{"Id":"a","Avatar":"http://xx.com/avatar.jpg"}`}, ""},
		"User.Avatar a script": {map[string]string{
			"User": `{"Id":"a","Avatar":"javascript:alert(1)"}`}, "InvalidArgument.User"},
		"Watermark": {map[string]string{
			"Watermark": `{"Type":1,"Value":"imm","Font":"bold 20px Serif","FillStyle":"rgba(1,1,1,0.6)","Rotate":-0.7,"Horizontal":20,"Vertical":30}`,
		}, ""},
		"Watermark off": {map[string]string{"Watermark": `{"Type":0}`}, ""},
		"Watermark of type 2": {map[string]string{"Watermark": `{"Type":2,"Value":"imm"}`},
			"InvalidArgument.Watermark"},
		"Watermark without text": {map[string]string{"Watermark": `{"Type":1}`},
			"InvalidArgument.Watermark"},
		"Watermark, quoted number": {map[string]string{
			"Watermark": `{"Type":"1","Value":"imm"}`,
		}, "InvalidJSON parsing error, Watermark"},
		"Watermark, half a pixel": {map[string]string{"Watermark": `{"Horizontal":1.5}`},
			"InvalidJSON parsing error, Watermark"},
		"CredentialConfig": {map[string]string{
			"CredentialConfig": `{"ServiceRole":"r","Policy":"{}","Chain":[{"Role":"r","RoleType":"service","AssumeRoleFor":"1"}]}`,
		}, ""},
		"CredentialConfig, bad chain": {map[string]string{
			"CredentialConfig": `{"Chain":[{"Name":"r"}]}`,
		}, "InvalidJSON parsing error, CredentialConfig"},
		"CredentialConfig, no chain": {map[string]string{
			"CredentialConfig": `{"Chain":{}}`,
		}, "InvalidJSON parsing error, CredentialConfig"},
		"Notification": {map[string]string{"Notification": `{"MNS":{"TopicName":"topic"}}`}, ""},
		"Notification, unknown": {map[string]string{
			"Notification": `{"SMS":{"TopicName":"topic"}}`,
		}, "InvalidJSON parsing error, Notification"},
		"Notification, flat": {map[string]string{"Notification": `{"MNS":"topic"}`},
			"InvalidJSON parsing error, Notification"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			query := plainQuery()
			maps.Copy(query, c.change)
			maps.DeleteFunc(query, func(_, value string) bool { return value == "-" })
			status, body := b.send(t, b.request(t, raw{query: query}))
			if body["Code"] != c.code || (c.code == "") != (status == 200) {
				t.Errorf("%d %v, want %q", status, body, c.code)
			}
			if calls := b.Calls(); calls.Generate+calls.Failed != 1 ||
				(calls.Generate == 1) != (c.code == "") {
				t.Errorf("billed as %+v", calls)
			}
		})
	}
}

func TestEverySupportedFormatOpens(t *testing.T) {
	b := newBench(t)
	const formats = "doc docx txt dot wps wpt dotx docm dotm rtf ppt pptx pptm ppsx ppsm pps potx potm dpt dps " +
		"et xls xlt xlsx xlsm xltx xltm csv pdf"
	for _, format := range strings.Fields(formats) {
		query := plainQuery()
		query["SourceURI"] = "oss://test-bucket/test-object." + format
		if status, body := b.send(t, b.request(t, raw{query: query})); status != 200 {
			t.Errorf("%s: %d %v", format, status, body)
		}
	}
}

func TestUserNameStrict(t *testing.T) {
	b := newBench(t)
	b.SetSwitches(office.Switches{UserNameStrict: true})
	for name, code := range map[string]string{"Ann-Marie_1+/=@": "",
		"Ann Marie": "InvalidArgument.User", "王": "InvalidArgument.User"} {
		query := plainQuery()
		query["User"] = `{"Id":"a","Name":"` + name + `"}`
		if _, body := b.send(t, b.request(t, raw{query: query})); body["Code"] != code {
			t.Errorf("%s: %v, want %q", name, body, code)
		}
	}
}

func TestAddDocument(t *testing.T) {
	b := newBench(t)
	for uri, good := range map[string]bool{
		"oss://team-docs/a/plan.xlsx": true, "oss://team-docs/a/plan.XLSX": true,
		"oss://team-docs/a/photo.png": false,
		"oss://team-docs/a":           false, "plan.docx": false, "oss://team-docs/a/": false,
	} {
		if err := b.AddDocument(uri, office.Document{Text: "x"}); (err == nil) != good {
			t.Errorf("%s: %v", uri, err)
		}
	}
	query := plainQuery()
	query["SourceURI"] = "oss://team-docs/a/plan.xlsx"
	if status, body := b.send(t, b.request(t, raw{query: query})); status != 200 {
		t.Errorf("%d %v", status, body)
	}
	if b.Text("oss://team-docs/a/plan.xlsx") != "x" || b.Text("oss://team-docs/absent.docx") != "" {
		t.Error("Text does not tell what was laid there")
	}
}
