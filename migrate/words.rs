//! What the interactive mode says, in every language.

use waba_gateway::{
    domain::waba::INSTANCES_PER_VENDOR_MAX,
    gateway::WEBHOOK_SECRET_CHARS_MIN,
    lang::{Language, Words},
};

use super::table::{
    API_KEY, BUSINESS_NAME, CELL_CHARS_MAX, Fault, PHONE_NUMBER, VENDOR_ID, WASENDER_ID,
    WEBHOOK_SECRET,
};

pub fn start() -> Words {
    Words::new(
        "Vendors are asked for one after another; an empty vendorId ends the list.\n\
         What is in [brackets] is stored already: Enter keeps it.\n\
         Nothing is written before you have confirmed the list.",
        "Les vendeurs sont demandés l'un après l'autre ; un vendorId vide termine la liste.\n\
         Ce qui est entre [crochets] est déjà enregistré : Entrée le garde.\n\
         Rien n'est écrit avant que vous ayez confirmé la liste.",
    )
}

/// What to ask for a column; `present` is offered.
pub fn prompt(column: &str, is_hidden: bool, present: Option<&str>) -> Words {
    let present = present.map(|it| format!(" [{it}]")).unwrap_or_default();
    let hint = hint(column, is_hidden);
    Words::new(
        format!("{column} ({}){present}: ", hint.of(Language::En)),
        format!("{column} ({}){present} : ", hint.of(Language::Fr)),
    )
}

fn hint(column: &str, is_hidden: bool) -> Words {
    let hidden = |en: &str, fr: &str| {
        if is_hidden {
            return Words::new(format!("not shown; {en}"), format!("invisible ; {fr}"));
        }
        Words::new(en, fr)
    };
    match column {
        VENDOR_ID => Words::new("empty: end of the list", "vide : fin de la liste"),
        BUSINESS_NAME => Words::new("the vendor's name", "nom du vendeur"),
        PHONE_NUMBER => Words::new("with + and its country code", "avec + et l'indicatif du pays"),
        WASENDER_ID => {
            Words::new("the session's number at Wasender", "numéro de la session chez Wasender")
        }
        WEBHOOK_SECRET => hidden("the session's webhook secret", "secret webhook de la session"),
        API_KEY => hidden("the session's own key; may be empty", "clé de la session ; facultative"),
        _ => Words::same(""),
    }
}

/// A vendor that is in the store.
pub fn known(vendor: &str) -> Words {
    Words::new(
        format!("{vendor} is stored already; Enter keeps what it has."),
        format!("{vendor} est déjà enregistré ; Entrée garde ce qu'il a."),
    )
}

/// A vendor that was answered for before.
pub fn again(vendor: &str) -> Words {
    Words::new(
        format!("{vendor} is in the list already; Enter keeps what you answered."),
        format!("{vendor} est déjà dans la liste ; Entrée garde vos réponses."),
    )
}

/// A secret that stays.
pub fn kept(column: &str) -> Words {
    Words::new(format!("{column}: kept"), format!("{column} : conservé"))
}

/// Why an answer is not taken.
pub fn reason(fault: &Fault) -> Words {
    let fr = match fault {
        Fault::Encoding(column) => {
            let en = format!("{column} is not UTF-8 text");
            return Words::new(en, format!("{column} n'est pas du texte UTF-8"));
        }
        Fault::Control(column) => {
            let en = format!("{column} has an invisible character");
            return Words::new(en, format!("{column} contient un caractère invisible"));
        }
        Fault::Header(column) => {
            let en = format!("{column} is the name of a field");
            return Words::new(en, format!("{column} est le nom d'un champ"));
        }
        Fault::Long(column) => {
            format!("{column} dépasse {CELL_CHARS_MAX} caractères")
        }
        Fault::Empty(column) => format!("{column} est vide"),
        Fault::VendorId(_) => {
            format!("{VENDOR_ID} : de 1 à 64 caractères parmi A-Z a-z 0-9 _ -")
        }
        Fault::PhoneNumber => format!(
            "{PHONE_NUMBER} : écrivez le numéro avec + et l'indicatif du pays, comme +221771234567"
        ),
        Fault::ShortSecret => {
            format!("{WEBHOOK_SECRET} a moins de {WEBHOOK_SECRET_CHARS_MIN} caractères")
        }
        Fault::Taken { column, vendor } => format!("{column} appartient au vendeur {vendor}"),
        Fault::OwnTaken { column, instance } => {
            format!("{column} est celui de l'instance {instance} du même vendeur")
        }
        Fault::InstanceTaken(id) => format!("l'instance {id} appartient à un autre vendeur"),
        Fault::Full => {
            format!("le vendeur a {INSTANCES_PER_VENDOR_MAX} instances et n'en peut avoir plus")
        }
        Fault::Unreadable(vendor) => {
            format!("ce qui est enregistré du vendeur {vendor} est illisible")
        }
        Fault::JustTaken => {
            "le numéro ou son compte vient d'être pris par un autre vendeur".to_owned()
        }
        // A file's faults: no answer has them.
        Fault::Cells { .. } | Fault::Twice { .. } | Fault::OtherName(_) | Fault::Bad { .. } => {
            return Words::same(fault.to_string());
        }
    };
    Words::new(fault.to_string(), fr)
}

/// What happens to a vendor.
pub fn outcome(action: &super::plan::Action) -> Words {
    use super::plan::Action;
    match action {
        Action::Created | Action::Added => Words::new("new", "nouveau"),
        Action::Updated(columns) => {
            let columns = columns.join(", ");
            Words::new(format!("changes {columns}"), format!("change {columns}"))
        }
        Action::Unchanged => Words::new("unchanged", "inchangé"),
        Action::Refused(faults) => {
            let none = Words::new("refused", "refusé");
            faults.first().map_or(none, reason)
        }
        // A file's rows: no answer is one.
        Action::Taken(_) | Action::NotKept(_) | Action::LeftOut(_) => {
            Words::same(action.to_string())
        }
    }
}

pub fn question(n_vendors: usize) -> Words {
    match n_vendors {
        1 => Words::new("Write this vendor? [y/N] ", "Écrire ce vendeur ? [o/N] "),
        n => Words::new(
            format!("Write these {n} vendors? [y/N] "),
            format!("Écrire ces {n} vendeurs ? [o/N] "),
        ),
    }
}

/// Whether an answer to [`question`] is yes, in any language.
pub fn is_yes(answer: &[u8]) -> bool {
    let answer = answer.trim_ascii().to_ascii_lowercase();
    matches!(answer.as_slice(), b"y" | b"yes" | b"o" | b"oui")
}

pub fn no_vendors() -> Words {
    Words::new("No vendors: nothing was written.", "Aucun vendeur : rien n'a été écrit.")
}

pub fn declined() -> Words {
    Words::new("Nothing was written.", "Rien n'a été écrit.")
}

pub fn ended_in_list() -> Words {
    Words::new(
        "the input ended before the list did (an empty vendorId ends it); nothing was written",
        "l'entrée s'est terminée avant la liste (un vendorId vide la termine) ; rien n'a été écrit",
    )
}

pub fn ended_at_question() -> Words {
    Words::new(
        "the input ended before the list was confirmed (y, or --yes); nothing was written",
        "l'entrée s'est terminée avant la confirmation (o, ou --yes) ; rien n'a été écrit",
    )
}

pub fn interrupted() -> Words {
    Words::new("interrupted; nothing was written", "interrompu ; rien n'a été écrit")
}
