package office_test

import (
	"os"
	"strings"
	"testing"

	"weboffice-functions/shared/standin/office"
)

func TestMain(m *testing.M) {
	if !office.ServeElsewhere() {
		os.Exit(m.Run())
	}
}

func TestElsewhere(t *testing.T) {
	url, stop, err := office.StartElsewhere(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := start(t)
	w.web.URL = url
	client := w.client(t)
	first := generate(t, client)
	second := refreshed(t, client, first)
	if !strings.HasPrefix(*first.WebofficeURL, "https://") ||
		*second.AccessToken == *first.AccessToken {
		t.Errorf("%v, then %v", first, second)
	}
	stop()
	if _, err := client.GenerateWebofficeToken(plainRequest()); err == nil {
		t.Error("it did not stop")
	}
}
