// Command naive is the handler that one writes first, over the vendor's typed SDK: no caller is
// checked, nothing is decided, and IMM's own refresh token goes to the page. Benchmarks hold the
// function against it. Build it with -tags fc, lambda or web.
package main

import (
	"encoding/json"
	"os"
	"strings"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	imm "github.com/alibabacloud-go/imm-20200930/v4/client"
	"github.com/alibabacloud-go/tea/tea"
)

func main() {
	endpoint := strings.TrimPrefix(os.Getenv("WEBOFFICE_IMM_ENDPOINT"), "http://")
	client, err := imm.NewClient(&openapi.Config{
		AccessKeyId:     tea.String(os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID")),
		AccessKeySecret: tea.String(os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")),
		SecurityToken:   tea.String(os.Getenv("ALIBABA_CLOUD_SECURITY_TOKEN")),
		Endpoint:        &endpoint, Protocol: tea.String("http"),
	})
	if err != nil {
		panic(err)
	}
	serve(func(body []byte) (string, error) { return generate(client, body) })
}

func generate(client *imm.Client, body []byte) (string, error) {
	var asked struct{ SourceURI string }
	if err := json.Unmarshal(body, &asked); err != nil {
		return "", err
	}
	answer, err := client.GenerateWebofficeToken(&imm.GenerateWebofficeTokenRequest{
		ProjectName: tea.String("test-project"), SourceURI: &asked.SourceURI,
		Permission: &imm.WebofficePermission{Readonly: tea.Bool(false), Copy: tea.Bool(true)},
		User:       &imm.WebofficeUser{Id: tea.String("test"), Name: tea.String("testuser")},
	})
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(answer.Body)
	return string(text), err
}
