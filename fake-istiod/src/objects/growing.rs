//! Structs that grow while their `Debug` text stays: hashes of pod templates are made from it, and pods named by those.

/// Declares a struct with its `Default` and its `Debug`, so that each field is listed once.
///
/// `Debug` prints what the derived one would, but of the fields under `later` only those that say something. So a
/// template keeps its hash when the struct learns a field that the template does not have.
macro_rules! growing {
    (
        $(#[$attribute:meta])*
        $outer:vis struct $name:ident {
            $($(#[$of:meta])* $vis:vis $field:ident: $type:ty $(= $default:expr)?,)*
        }
        later {
            $($(#[$of_later:meta])* $later_vis:vis $later:ident: $later_type:ty,)*
        }
    ) => {
        $(#[$attribute])*
        $outer struct $name {
            $($(#[$of])* $vis $field: $type,)*
            $($(#[$of_later])* $later_vis $later: $later_type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: growing!(@default $($default)?),)*
                    $($later: Default::default(),)*
                }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut fields = f.debug_struct(stringify!($name));
                $(fields.field(stringify!($field), &self.$field);)*
                $(if self.$later != <$later_type>::default() {
                    fields.field(stringify!($later), &self.$later);
                })*
                fields.finish()
            }
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
}

pub(super) use growing;

#[cfg(test)]
mod tests {
    growing! {
        #[derive(PartialEq)]
        struct Grown {
            name: String,
            count: u32 = 3,
        }
        later {
            list: Vec<u32>,
        }
    }

    #[test]
    fn what_says_nothing_in_its_later_fields_prints_as_before() {
        assert_eq!(format!("{:?}", Grown::default()), "Grown { name: \"\", count: 3 }");
        let said = Grown { list: vec![1], ..Grown::default() };
        assert_eq!(format!("{said:?}"), "Grown { name: \"\", count: 3, list: [1] }");
    }
}
