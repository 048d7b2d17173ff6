package local_test

import _ "github.com/chromedp/chromedp"
