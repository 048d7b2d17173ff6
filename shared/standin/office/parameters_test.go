package office_test

import (
	"strings"
	"testing"

	"weboffice-functions/shared/standin/office"
)

// rules are one request each, made from one that breaks no rule: its name, what is changed in it
// ("-" leaves a parameter out, "" nothing), and the code of the answer ("" passes).
// TestParameterRules says what braces stand for.
const rules = `
nothing more                | | 
no project                  | ProjectName=- | MissingProjectName
unknown project             | ProjectName=nowhere | ResourceNotFound
no document                 | SourceURI=- | MissingSourceURI
unknown document            | SourceURI={bucket}/absent.docx | ResourceNotFound
unknown bucket              | SourceURI=oss://absent-bucket/test-object.docx | ResourceNotFound
another scheme              | SourceURI=https://test-bucket/test-object.docx | InvalidSourceURI
no object                   | SourceURI={bucket}/ | InvalidSourceURI
key of 1,024 bytes          | SourceURI={bucket}/{1019*a}.docx | InvalidSourceURI
key of 1,023 bytes          | SourceURI={bucket}/{1018*a}.docx | ResourceNotFound
unknown parameter           | Readonly=true | InvalidParameter
parameter in another case   | hidecmb=true | InvalidParameter
parameter of Refresh        | AccessToken=x | InvalidParameter
Filename                    | Filename=plan.docx | 
Filename without extension  | Filename=plan | InvalidFilename
Filename in upper case      | Filename=plan.DOCX | InvalidFilename
Filename with a folder      | Filename=a/plan.docx | InvalidFilename
Filename empty              | Filename= | InvalidFilename
upper-case object alone     | SourceURI={bucket}/test-object.DOCX | InvalidFilename
upper-case object, Filename | SourceURI={bucket}/test-object.DOCX; Filename=a.docx | 
PreviewPages 1              | PreviewPages=1 | 
PreviewPages 5000           | PreviewPages=5000 | 
PreviewPages 0              | PreviewPages=0 | InvalidPreviewPages
PreviewPages 5001           | PreviewPages=5001 | InvalidPreviewPages
PreviewPages with a sign    | PreviewPages=+5 | InvalidPreviewPages
PreviewPages while editing  | PreviewPages=3; Permission={edit} | 
boolean                     | ExternalUploaded=true; Hidecmb=false | 
boolean as a number         | CachePreview=1 | InvalidCachePreview
UserData of 2,048 bytes     | UserData={1024*ü} | 
UserData of 2,049 bytes     | UserData={1024*ü}x | InvalidUserData
texts                       | Password=123456; Referer=*; NotifyTopicName=topic | 
all of editing              | Permission={"Rename":true,"History":true,"Copy":true,"Export":true,"Print":true} | 
Permission not JSON         | Permission={'Readonly':'true'} | {json} Permission
Permission null             | Permission=null | {json} Permission
Permission, quoted boolean  | Permission={"Readonly":"true"} | {json} Permission
Permission, unknown field   | Permission={"Edit":true} | {json} Permission
Permission, other spelling  | Permission={"readonly":true} | {json} Permission
Permission, text after it   | Permission={"Readonly":true}} | {json} Permission
Permission left out         | Permission=- | 
Export without Print        | Permission={"Readonly":true,"Export":true} | {permission}
Export with Print           | Permission={export} | 
History while read-only     | Permission={"Readonly":true,"History":true} | {permission}
History with PreviewPages   | Permission={"History":true}; PreviewPages=3 | {permission}
Hidecmb while editing       | Hidecmb=true; Permission={edit} | InvalidArgument.Hidecmb
cached while editing        | CachePreview=true; Permission={edit} | InvalidArgument.CachePreview
cached with Print           | CachePreview=true; Permission={"Readonly":true,"Print":true} | {permission}
PDF read-only               | SourceURI={bucket}/test-object.pdf | 
PDF edited                  | SourceURI={bucket}/test-object.pdf; Permission={edit} | {permission}
PDF exported                | SourceURI={bucket}/test-object.pdf; Permission={export} | {permission}
PDF edited as docx          | SourceURI={bucket}/test-object.pdf; Filename=a.docx; Permission={edit} | {permission}
csv edited                  | SourceURI={bucket}/test-object.csv; Permission={edit} | {permission}
no User                     | User=- | InvalidArgument.User
User not JSON               | User=Ann | {json} User
User.Id of 15               | User={"Id":"abcdefghij12345"} | 
User.Id of 16               | User={"Id":"abcdefghij123456"} | InvalidArgument.User
User.Id with a sign         | User={"Id":"test_user"} | InvalidArgument.User
User.Name of 32             | User={"Id":"a","Name":"{32*王}"} | 
User.Name of 33             | User={"Id":"a","Name":"{33*王}"} | InvalidArgument.User
User.Name empty             | User={"Id":"a","Name":""} | InvalidArgument.User
User.Avatar                 | User={"Id":"a","Avatar":"http://xx.com/avatar.jpg"} | 
User.Avatar a script        | User={"Id":"a","Avatar":"javascript:alert(1)"} | InvalidArgument.User
Watermark                   | Watermark={"Type":1,"Value":"imm","FillStyle":"rgba(1,1,1,0.6)","Rotate":-0.7} | 
Watermark of type 2         | Watermark={"Type":2,"Value":"imm"} | InvalidArgument.Watermark
Watermark without text      | Watermark={"Type":1} | InvalidArgument.Watermark
Watermark, half a pixel     | Watermark={"Horizontal":1.5} | {json} Watermark
CredentialConfig            | CredentialConfig={"ServiceRole":"r","Policy":"{}","Chain":[{"RoleType":"service"}]} | 
CredentialConfig, bad chain | CredentialConfig={"Chain":[{"Name":"r"}]} | {json} CredentialConfig
Notification                | Notification={"MNS":{"TopicName":"topic"}} | 
Notification, unknown       | Notification={"SMS":{"TopicName":"topic"}} | {json} Notification
`

func TestParameterRules(t *testing.T) {
	long := strings.NewReplacer("{edit}", `{"Readonly":false}`, "{bucket}", "oss://test-bucket",
		"{export}", `{"Readonly":true,"Export":true,"Print":true}`,
		"{permission}", "InvalidArgument.Permission", "{json}", "InvalidJSON parsing error,",
		"{1019*a}", strings.Repeat("a", 1019), "{1018*a}", strings.Repeat("a", 1018),
		"{1024*ü}", strings.Repeat("ü", 1024), "{32*王}", strings.Repeat("王", 32),
		"{33*王}", strings.Repeat("王", 33))
	for line := range strings.Lines(strings.TrimPrefix(long.Replace(rules), "\n")) {
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "| ")
		name, code := strings.TrimSpace(parts[0]), parts[2]
		t.Run(name, func(t *testing.T) {
			w := start(t)
			query := plainQuery()
			if change := strings.TrimSpace(parts[1]); change != "" {
				for one := range strings.SplitSeq(change, "; ") {
					parameter, value, _ := strings.Cut(one, "=")
					query[parameter] = value
					if value == "-" {
						delete(query, parameter)
					}
				}
			}
			status, body := w.send(t, w.request(t, raw{query: query}))
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

func TestTextThatIsNotUTF8(t *testing.T) {
	if _, body := start(t).sendQuery(t, "UserData", "\xff"); body["Code"] != "InvalidUserData" {
		t.Errorf("%v", body)
	}
}

func TestEverySupportedFormatOpens(t *testing.T) {
	w := start(t)
	const formats = "doc docx txt dot wps wpt dotx docm dotm rtf ppt pptx pptm ppsx ppsm pps " +
		"potx potm dpt dps et xls xlt xlsx xlsm xltx xltm csv pdf"
	for format := range strings.FieldsSeq(formats) {
		if status, body := w.sendQuery(t, "SourceURI",
			"oss://test-bucket/test-object."+format); status != 200 {
			t.Errorf("%s: %d %v", format, status, body)
		}
	}
}

func TestUserNameStrict(t *testing.T) {
	w := start(t)
	w.SetSwitches(office.Switches{UserNameStrict: true})
	for name, code := range map[string]string{"Ann-Marie_1+/=@": "",
		"Ann Marie": "InvalidArgument.User", "王": "InvalidArgument.User"} {
		if _, body := w.sendQuery(t, "User",
			`{"Id":"a","Name":"`+name+`"}`); body["Code"] != code {
			t.Errorf("%s: %v, want %q", name, body, code)
		}
	}
}
