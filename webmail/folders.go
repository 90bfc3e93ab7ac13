package webmail

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/mailkeel/mailkeel/internal/mailview"
	"github.com/mailkeel/mailkeel/store"
)

// maxLabel is how long the name of a folder may be, in bytes.
const maxLabel = 200

// foldersView is what folders.html shows.
type foldersView struct {
	Parents []mailview.Folder // where folders can be made
	Problem string
	Label   string // as it was typed
	At      store.MailboxID
}

func (rq *request) foldersPage() error { return rq.showFolders(http.StatusOK, foldersView{}) }

func (rq *request) showFolders(code int, v foldersView) error {
	folders, err := rq.folders()
	if err != nil {
		return err
	}
	for _, f := range folders {
		if f.May("k") {
			v.Parents = append(v.Parents, f)
		}
	}
	return rq.show(code, "folders", v)
}

func (rq *request) folderCreate() error {
	var parent store.MailboxID
	if s := rq.form.Get("parent"); s != "" && s != "0" {
		var err error
		if parent, err = folderID(s); err != nil {
			return err
		}
	}
	label := rq.value("name")
	if len(label) > maxLabel {
		return rq.folderProblem(label, 0, store.ErrInvalid)
	}
	if _, err := rq.box.CreateFolder(rq.ctx(), parent, label); err != nil {
		return rq.folderProblem(label, 0, err)
	}
	return rq.redirect("/folders", "done", "created")
}

func (rq *request) folderRename() error {
	id, err := rq.folderID()
	if err != nil {
		return err
	}
	label := rq.value("name")
	if len(label) > maxLabel {
		return rq.folderProblem(label, id, store.ErrInvalid)
	}
	if err := rq.box.RenameFolder(rq.ctx(), id, label); err != nil {
		return rq.folderProblem(label, id, err)
	}
	return rq.redirect("/folders", "done", "renamed")
}

func (rq *request) folderDelete() error {
	id, err := rq.folderID()
	if err != nil {
		return err
	}
	if err := rq.box.DeleteFolder(rq.ctx(), id); err != nil {
		return rq.folderProblem("", id, err)
	}
	return rq.redirect("/folders", "done", "deleted")
}

func (rq *request) folderEmpty() error {
	id, err := rq.folderID()
	if err != nil {
		return err
	}
	n, err := rq.box.EmptyFolder(rq.ctx(), id)
	if err != nil {
		return err
	}
	return rq.redirect(folderPath(id), "done", "emptied", "n", strconv.Itoa(n))
}

// folderProblem shows the page with what is wrong, if a person can mend it.
func (rq *request) folderProblem(label string, at store.MailboxID, err error) error {
	v := foldersView{Label: label, At: at}
	switch {
	case errors.Is(err, store.ErrExists):
		v.Problem = rq.words.t("folders.exists", label)
	case errors.Is(err, store.ErrInvalid):
		v.Problem = rq.words.t("folders.invalid")
	case errors.Is(err, mailview.ErrKept):
		v.Problem = rq.words.t("folders.kept")
	case errors.Is(err, store.ErrLimit):
		v.Problem = rq.words.t("folders.limit")
	default:
		return err
	}
	return rq.showFolders(http.StatusUnprocessableEntity, v)
}
